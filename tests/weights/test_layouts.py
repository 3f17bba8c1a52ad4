"""The official names: those of the released files, tensor by tensor."""

import pytest
import torch

from dmaelab.losses import MSEAllPatches
from dmaelab.modeling import Classifier, DenoisingMAE, MAEDecoder, build_backbone
from dmaelab.utils.errors import UserError
from dmaelab.weights.layouts import is_official, rename_to_official, rename_to_own, rename_to_timm, unwrap

RGB = [0.5] * 3, [0.25] * 3
SIZES = {"vit_base": (768, 12), "vit_large": (1024, 24)}


def autoencoder(name):
    with torch.device("meta"):
        return DenoisingMAE(build_backbone(name, pool=None), MAEDecoder, None, MSEAllPatches(), *RGB)


def classifier(name, pool, **options):
    with torch.device("meta"):
        return Classifier(build_backbone(name, pool=pool), 1000, *RGB, **options)


def norm(name, width):
    return {f"{name}.weight": [width], f"{name}.bias": [width]}


def linear(name, out, width):
    return {f"{name}.weight": [out, width], f"{name}.bias": [out]}


def block(name, width):
    return {
        **norm(f"{name}.norm1", width), **linear(f"{name}.attn.qkv", 3 * width, width),
        **linear(f"{name}.attn.proj", width, width),
        **norm(f"{name}.norm2", width), **linear(f"{name}.mlp.fc1", 4 * width, width),
        **linear(f"{name}.mlp.fc2", width, 4 * width),
    }  # fmt: skip


def blocks(name, depth, width):
    return {key: value for index in range(depth) for key, value in block(f"{name}.{index}", width).items()}


def patch_embed(width):
    return {"patch_embed.proj.weight": [width, 3, 16, 16], "patch_embed.proj.bias": [width]}


def shapes(state):
    return [(name, list(value.shape)) for name, value in state.items()]


@pytest.mark.parametrize(("name", "count"), [("vit_base", 254), ("vit_large", 398)])
def test_autoencoders_have_the_released_names_in_their_order(name, count):
    width, depth = SIZES[name]
    expected = {
        "cls_token": [1, 1, width], "pos_embed": [1, 197, width], "mask_token": [1, 1, 512],
        "decoder_pos_embed": [1, 197, 512],
        **patch_embed(width), **blocks("blocks", depth, width), **norm("norm", width),
        **linear("decoder_embed", 512, width),
        **blocks("decoder_blocks", 8, 512), **norm("decoder_norm", 512), **linear("decoder_pred", 768, 512),
    }  # fmt: skip
    own = autoencoder(name).state_dict()
    assert shapes(rename_to_official(own)) == list(expected.items())
    assert len(expected) == count
    assert list(rename_to_timm(own)) == [key for key in expected if not key.startswith(("decoder_", "mask_"))]
    assert shapes(rename_to_own(rename_to_official(own))) == shapes(
        {key: own[key] for key in rename_to_own(rename_to_official(own))}
    )
    assert set(own) - set(rename_to_own(rename_to_official(own))) == {"preprocess.pixel_mean", "preprocess.pixel_std"}


@pytest.mark.parametrize("pool", ["gap", "cls"])
@pytest.mark.parametrize(("name", "count"), [("vit_base", 152), ("vit_large", 296)])
def test_classifiers_have_the_released_names_in_their_order(name, count, pool):
    width, depth = SIZES[name]
    head, last = linear("head", 1000, width), norm("fc_norm" if pool == "gap" else "norm", width)
    expected = {
        "cls_token": [1, 1, width], "pos_embed": [1, 197, width], **patch_embed(width),
        **blocks("blocks", depth, width),
        **({**head, **last} if pool == "gap" else {**last, **head}),
    }  # fmt: skip
    official = rename_to_official(classifier(name, pool).state_dict())
    assert shapes(official) == list(expected.items())
    assert len(expected) == count


def test_a_linear_probe_has_the_released_names():
    official = rename_to_official(classifier("vit_base", "cls", head="bn_linear").state_dict())
    assert list(official)[-7:] == [
        "norm.weight", "norm.bias", "head.0.running_mean", "head.0.running_var", "head.0.num_batches_tracked",
        "head.1.weight", "head.1.bias",
    ]  # fmt: skip
    assert len(official) == 155


def test_wrappers_are_taken_off_where_they_are_whole():
    one = torch.ones(1)
    assert list(unwrap({"module.classifier.head.bias": one, "module.loss.scale": one})) == ["head.bias"]
    assert list(unwrap({"module.a": one, "b": one})) == ["module.a", "b"]
    assert is_official({"blocks.0.x": one})
    assert not is_official({"backbone.blocks.0.x": one})
    assert list(rename_to_own({"conv1.weight": one})) == ["conv1.weight"]


def test_a_name_beside_a_wrapper_does_not_vanish():
    one = torch.ones(1)
    assert list(unwrap({"classifier.head.bias": one, "teacher.x": one, "corruption.sigma": one})) == [
        "head.bias",
        "teacher.x",
    ]
    both = {"classifier.head.bias": one, "head.bias": one}
    assert unwrap(both) == both


def test_names_without_an_official_one_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"^conv1\.weight has no name in the official layout"):
        rename_to_official({"backbone.conv1.weight": torch.ones(1)})
