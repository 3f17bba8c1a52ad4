import re

import pytest
import torch

from dmaelab.config import LazyCall as L
from dmaelab.config import check
from dmaelab.config.plain import to_config
from dmaelab.corruptions import Gaussian
from dmaelab.losses import MSEAllPatches
from dmaelab.modeling import BACKBONES, Classifier, DenoisingMAE, MAEDecoder, ViT, build_backbone
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw

RGB = [0.5] * 3, [0.25] * 3
SIZES = {"vit_base": (768, 12), "vit_large": (1024, 24)}


def block_shapes(prefix, width):
    """Return the twelve tensors of a block."""
    linear = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }
    shapes = {f"{prefix}.{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{prefix}.{name}.bias": shape[:1] for name, shape in linear.items()}
    return shapes | {f"{prefix}.{norm}.{kind}": (width,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")}


def trunk_shapes(prefix, width, depth):
    """Return the tensors that encoder and classifier of the public weights share."""
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 197, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,)}
    shapes = {prefix + name: shape for name, shape in shapes.items()}
    for index in range(depth):
        shapes |= block_shapes(f"{prefix}blocks.{index}", width)
    return shapes


def norm_shapes(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def shapes_of(module):
    return {
        name: tuple(value.shape) for name, value in module.state_dict().items() if not name.startswith("preprocess.")
    }


def count(module, trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


@pytest.mark.parametrize(
    ("name", "keys", "numbers", "trainable"),
    [("vit_base", 254, 111_907_840, 111_655_680), ("vit_large", 398, 329_541_888, 329_239_296)],
)
def test_autoencoders_have_the_tensors_of_the_public_weights(name, keys, numbers, trainable):
    width, depth = SIZES[name]
    with torch.device("meta"):
        model = DenoisingMAE(build_backbone(name, pool=None), MAEDecoder, Gaussian(0.25), MSEAllPatches(), *RGB)
    expected = trunk_shapes("encoder.", width, depth) | norm_shapes("encoder.norm", width)
    expected |= {"decoder.mask_token": (1, 1, 512), "decoder.pos_embed": (1, 197, 512)}
    expected |= {"decoder.embed.weight": (512, width), "decoder.embed.bias": (512,)}
    for index in range(8):
        expected |= block_shapes(f"decoder.blocks.{index}", 512)
    expected |= norm_shapes("decoder.norm", 512) | {"decoder.pred.weight": (768, 512), "decoder.pred.bias": (768,)}
    assert shapes_of(model) == expected
    assert len(expected) == keys
    assert (count(model), count(model, trainable=True)) == (numbers, trainable)


@pytest.mark.parametrize("pool", ["gap", "cls"])
@pytest.mark.parametrize(("name", "keys", "numbers"), [("vit_base", 152, 86_567_656), ("vit_large", 296, 304_326_632)])
def test_classifiers_have_the_tensors_of_the_public_weights(name, keys, numbers, pool):
    width, depth = SIZES[name]
    with torch.device("meta"):
        model = Classifier(build_backbone(name, pool=pool), 1000, *RGB)
    expected = trunk_shapes("backbone.", width, depth) | norm_shapes(
        "backbone.fc_norm" if pool == "gap" else "backbone.norm", width
    )
    expected |= {"head.weight": (1000, width), "head.bias": (1000,)}
    assert shapes_of(model) == expected
    assert len(expected) == keys
    assert count(model) == count(model, trainable=True) == numbers


def test_classifier_of_ten_classes():
    with torch.device("meta"):
        assert count(Classifier(build_backbone("vit_base"), 10, *RGB)) == 85_806_346


@pytest.mark.parametrize("name", ["vit_tiny", "vit_small", "vit_base", "vit_large"])
def test_named_sizes(name):
    with torch.device("meta"):
        vit = build_backbone(name)
    shape = {
        "vit_tiny": (192, 12, 3),
        "vit_small": (384, 12, 6),
        "vit_base": (768, 12, 12),
        "vit_large": (1024, 24, 16),
    }[name]
    assert (vit.num_features, len(vit.blocks), vit.blocks[0].attn.num_heads) == shape
    assert (vit.input_size, vit.patch_size, vit.grid) == (224, 16, 14)


def test_a_config_of_a_named_size_is_checked_against_the_arguments_of_the_vit():
    config = {"model": L(build_backbone)(name="vit_tiny", depth=1, pool="cls")}
    check(to_config(config))
    assert BACKBONES.get("vit_tiny")(depth=1).num_features == 192
    for wrong, message in [
        ({"widht": 3}, "model.widht: vit_tiny has no argument 'widht' (did you mean 'width'?)"),
        ({"pool": "mean"}, "model.pool: vit_tiny expects "),
    ]:
        with pytest.raises(ConfigError, match=re.escape(message)):
            check(to_config({"model": L(build_backbone)(**{"name": "vit_tiny", **wrong})}))


def test_large_runs_on_the_meta_device():
    with torch.device("meta"):
        model = Classifier(build_backbone("vit_large"), 1000, *RGB)
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1000)


def test_pooling():
    torch.manual_seed(0)
    gap, cls = (ViT(24, 2, 3, image_size=8, patch_size=4, pool=pool) for pool in ("gap", "cls"))
    torch.nn.init.uniform_(gap.fc_norm.weight)
    images = Draw(0, "data").normal((2, 3, 8, 8))
    tokens = gap.encode(gap.embed(images))
    assert tokens.shape == (2, 5, 24)
    torch.testing.assert_close(gap(images), gap.fc_norm(tokens[:, 1:].mean(dim=1)))
    torch.testing.assert_close(cls(images), cls.encode(cls.embed(images))[:, 0])
    assert not hasattr(gap, "norm")
    assert not hasattr(cls, "fc_norm")


def test_encode_ends_after_the_final_norm():
    encoder = ViT(24, 1, 3, image_size=8, patch_size=4, pool=None)
    tokens = encoder.encode(encoder.embed(Draw(0, "data").normal((2, 3, 8, 8))))
    torch.testing.assert_close(tokens.mean(dim=-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.var(dim=-1, correction=0), torch.ones(2, 5), atol=1e-3, rtol=0)


def test_tokens_are_a_set_but_for_their_positions():
    encoder = ViT(24, 2, 3, image_size=8, patch_size=4, pool=None)
    tokens = Draw(0, "data").normal((2, 4, 24))
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        encoder.encode(tokens[:, order])[:, 1:], encoder.encode(tokens)[:, 1:][:, order], atol=1e-5, rtol=0
    )
    images = Draw(1, "data").normal((1, 3, 4, 4)).repeat(1, 1, 2, 2)  # four equal patches
    embedded = encoder.embed(images)[0]
    torch.testing.assert_close(
        embedded[1] - embedded[0], (encoder.pos_embed[0, 2] - encoder.pos_embed[0, 1]), atol=1e-5, rtol=0
    )


def test_positions_are_frozen_in_pre_training_only():
    assert not ViT(24, 1, 3, image_size=8, patch_size=4, pool=None).pos_embed.requires_grad
    assert ViT(24, 1, 3, image_size=8, patch_size=4, pool="cls").pos_embed.requires_grad


def test_bf16_autocast_keeps_the_whole_stream_in_bf16():
    encoder = ViT(24, 1, 3, image_size=8, patch_size=4, pool=None)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.embed(Draw(0, "data").normal((2, 3, 8, 8))).dtype == torch.bfloat16


def test_layers_are_the_embedding_and_the_blocks():
    vit = ViT(24, 3, 3, image_size=8, patch_size=4)
    layers = vit.layers()
    names = {id(p): name for name, p in vit.named_parameters()}
    assert [names[id(p)] for p in layers[0]] == [
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
    ]
    for index, layer in enumerate(layers[1:]):
        assert {names[id(p)].rpartition(".")[0].startswith(f"blocks.{index}.") for p in layer} == {True}
    assert [len(layer) for layer in layers] == [4, 12, 12, 12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 30}, "image_size 30 is not divisible by patch_size 4"),
        ({"pool": "mean"}, "pool is 'mean': choose 'gap', 'cls' or None"),
        ({"num_heads": 5}, "width 24 is not divisible by num_heads 5"),
        ({"attention": "flash"}, "attention is 'flash'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        ViT(**{"width": 24, "depth": 1, "num_heads": 3, "image_size": 8, "patch_size": 4, **options})


def test_images_of_another_size_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"takes 8x8 images and got 12x8: .*input_size=8") as error:
        ViT(24, 1, 3, image_size=8, patch_size=4)(torch.zeros(1, 3, 12, 8))
    assert "\n" not in str(error.value)


def test_an_encoder_is_no_classifier():
    with pytest.raises(ConfigError, match="pool=None"):
        ViT(24, 1, 3, image_size=8, patch_size=4, pool=None)(torch.zeros(1, 3, 8, 8))
