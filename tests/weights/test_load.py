"""Files of every kind into models in one call."""

import argparse

import pytest
import torch
from weights_toolbox import CIFAR, HEADS, OWN, TINY, classifier, refused, vit

from dmaelab.modeling import CifarResNet, Classifier
from dmaelab.utils.random import Draw
from dmaelab.weights import WeightsError, load_classifier, load_pretrain, read_file, save_weights
from dmaelab.weights.statistics import PIXEL_STATISTICS


@pytest.fixture(scope="module")
def io(reference):
    return reference("pretrain_io.pth")


@pytest.mark.parametrize("file", ["pretrain.pth", "trainer_checkpoint.pth", "wrapped", "module", "safetensors"])
def test_every_official_file_gives_the_official_outputs(file, released, io, tmp_path):
    source = TINY / file
    if file == "wrapped":
        source = {"model": released, "epoch": 3}
    elif file == "module":
        source = {f"module.{name}": value for name, value in released.items()}
    elif file == "safetensors":
        source = tmp_path / "x.safetensors"
        pytest.importorskip("safetensors.torch").save_file(released, source)
    model = load_pretrain(source, **HEADS, pixel_mean=io["config"]["pixel_mean"], pixel_std=io["config"]["pixel_std"])
    assert (model.corruption, model.loss.__class__.__name__, model.mask_ratio, model.norm_pix) == (
        None,
        "MSEAllPatches",
        0.75,
        True,
    )
    assert not model.training
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "encoder.pos_embed",
        "decoder.pos_embed",
    ]
    result = model.reconstruct(io["images"], noise=io["noise"], mask_noise=io["mask_u"])
    torch.testing.assert_close(result.latent, io["latent"], atol=1e-5, rtol=0)
    torch.testing.assert_close(result.pred, io["pred"], atol=1e-5, rtol=0)
    for patches in ("all", "masked"):
        for norm_pix in (False, True):
            expected = io[f"loss_{patches}_{'normpix' if norm_pix else 'pixel'}"]
            torch.testing.assert_close(result.loss(f"mse_{patches}_patches", norm_pix), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pool", ["gap", "cls"])
def test_official_classifiers_give_the_official_logits(pool, reference):
    io = reference("classifier_io.pth")
    assert (io["pixel_mean"], io["pixel_std"]) == PIXEL_STATISTICS["cifar10"]
    model = load_classifier(TINY / f"classifier_{pool}.pth", num_heads=3, **CIFAR)
    assert (model.backbone.pool, model.num_classes, model.preprocess.input_size) == (pool, 10, 32)
    assert all(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(model(io["images"]), io[f"logits_{pool}"], atol=1e-5, rtol=0)
        assert model(io["images"][:, :, :20, :20]).shape == (4, 10)


def test_the_class_token_of_files_of_others_is_an_assumption(tmp_path, caplog):
    """timm's global_pool="avg", fc_norm=False has the names of the class token's models."""
    line = "class token assumed"
    load_classifier(path_or_dict=TINY / "classifier_cls.pth", num_heads=3, **CIFAR)
    assert [line in text for text in caplog.messages] == [True]
    caplog.clear()
    load_classifier(TINY / "classifier_cls.pth", num_heads=3, pool="cls", **CIFAR)
    load_classifier(TINY / "classifier_gap.pth", num_heads=3, **CIFAR)
    for layout in ("dmaelab", "official"):  # ours are known to be of this project's models
        save_weights(classifier("cls"), tmp_path / "x.pth", layout)
        load_classifier(tmp_path / "x.pth")
    assert not caplog.messages


def test_loading_leaves_the_dictionary_and_the_generator_alone(released):
    before, state = torch.get_rng_state(), {name: value.clone() for name, value in released.items()}
    model = load_pretrain(path_or_dict=state, **HEADS, **CIFAR)
    with torch.no_grad():
        model.encoder.cls_token.zero_()
    assert torch.equal(state["cls_token"], released["cls_token"])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_other_function_is_named():
    assert "holds a classifier: load it with load_classifier" in refused(
        load_pretrain, TINY / "classifier_gap.pth", **HEADS, **CIFAR
    )
    assert "load it with load_pretrain" in refused(load_classifier, TINY / "pretrain.pth", num_heads=3, **CIFAR)
    resnet = Classifier(CifarResNet(8), 10, *OWN).state_dict()
    assert "missing backbone.cls_token, " in refused(load_classifier, resnet)
    assert "not the weights of a vision transformer" in refused(load_classifier, {"conv1.weight": torch.ones(1)})


@pytest.mark.parametrize(
    ("removed", "added", "message"),
    [
        (["mask_token"], {}, "missing mask_token"),
        (
            ["norm.weight", "decoder_norm.bias", "decoder_embed.weight"],
            {},
            "missing norm.weight, decoder_embed.weight, decoder_norm.bias",
        ),
        (["patch_embed.proj.weight"], {}, "missing patch_embed.proj.weight"),
        (["pos_embed"], {"extra.x": (1,), "preprocess.y": (1,)}, "missing pos_embed; unexpected extra.x, preprocess.y"),
        ([], {"blocks.7.norm1.weight": (48,)}, "unexpected blocks.7.norm1.weight"),
        ([], {"pos_embed": (1, 60, 48)}, "pos_embed has 60 rows: expected one for the class token"),
        ([], {"pos_embed": (65, 48)}, "pos_embed is [65, 48]: expected 3 dimensions"),
        ([], {"norm.weight": (49,)}, "encoder.norm.weight is [49] in the file and [48] in the model"),
        ([], {"decoder_pred.bias": (12,)}, "decoder.pred.bias is [12] in the file and [48] in the model"),
        (
            [],
            {"patch_embed.proj.weight": (48, 3, 4, 2)},
            "encoder.patch_embed.proj.weight is [48, 3, 4, 2] in the file",
        ),
    ],
    ids=str,
)
def test_what_is_missing_or_too_much_is_named(released, removed, added, message):
    state = {name: value for name, value in released.items() if name not in removed} | {
        n: torch.zeros(s) for n, s in added.items()
    }
    assert message in refused(load_pretrain, state, **HEADS, **CIFAR)


def test_what_a_classifier_misses_is_named():
    state = read_file(TINY / "classifier_gap.pth")["model"]
    for drop in ("fc_norm.bias", "head.weight", "blocks.1.norm2.bias"):
        left = {name: value for name, value in state.items() if name != drop}
        assert refused(load_classifier, left, num_heads=3, **CIFAR).endswith(f"whole model: missing {drop}")
    message = refused(load_classifier, state, num_heads=3, pool="cls", **CIFAR)
    assert message.endswith("missing norm.weight, norm.bias; unexpected fc_norm.weight, fc_norm.bias")
    assert "pool is 'mean'" in refused(load_classifier, state, num_heads=3, pool="mean", **CIFAR)


def test_an_encoder_alone_gets_the_published_decoder(alone, released):
    assert torch.equal(alone.encoder.norm.weight, released["norm.weight"])
    decoder = alone.decoder
    assert (decoder.embed.out_features, len(decoder.blocks), decoder.blocks[0].attn.num_heads) == (512, 8, 16)
    assert abs(decoder.mask_token.std() - 0.02) < 0.005
    assert not [name for name in alone.state_dict() if "new" in name]


def test_a_new_decoder_leaves_the_generators_of_gpus_alone(released, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the generators of the GPUs are set"))
    encoder = {name: value for name, value in released.items() if not name.startswith(("decoder_", "mask_"))}
    with pytest.warns(UserWarning, match="encoder only"):
        load_pretrain(encoder, num_heads=3, **CIFAR)


def test_a_new_decoder_does_not_reconstruct_before_a_step_of_training(alone, batch):
    images = torch.zeros(2, 3, 32, 32)
    assert "the decoder is new" in refused(alone.reconstruct, images)
    alone(batch())  # in evaluation mode: nothing is trained
    assert "the decoder is new" in refused(alone.reconstruct, images)
    alone.train()(batch())
    assert alone.reconstruct(images).pred.shape == (2, 64, 48)


def test_a_decoder_that_is_loaded_is_not_new(alone):
    state = alone.state_dict()
    alone.load_state_dict({name: value for name, value in state.items() if name != "decoder.mask_token"}, strict=False)
    assert alone.decoder.is_new
    alone.decoder.load_state_dict(alone.decoder.state_dict())
    assert alone.reconstruct(torch.zeros(1, 3, 32, 32)).pred.shape == (1, 64, 48)


def test_a_linear_probe_of_the_official_code():
    """The class token after norm, then batch norm by running statistics without weights, eps 1e-6, then linear."""
    state = dict(read_file(TINY / "classifier_cls.pth")["model"])
    draw = Draw(0, "data")
    mean, variance = (
        draw.child("mean").normal((48,)),
        1e-6 * draw.child("variance").uniform((48,)),
    )  # of the size of eps
    weight, bias = state.pop("head.weight"), state.pop("head.bias")
    state |= {
        "head.0.running_mean": mean,
        "head.0.running_var": variance,
        "head.0.num_batches_tracked": torch.tensor(9),
    }
    model = load_classifier({**state, "head.1.weight": weight, "head.1.bias": bias}, num_heads=3, **CIFAR)
    images = draw.uniform((2, 3, 32, 32))
    with torch.no_grad():
        features = model.backbone(model.preprocess(images))
        expected = (features - mean) / (variance + 1e-6).sqrt() @ weight.T + bias
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-2)
    assert model.num_classes == 10


def test_states_of_our_wrappers_load():
    model = classifier()
    wrapped = {"model": {f"classifier.{name}": value for name, value in model.state_dict().items()}, "step": 3}
    again = load_classifier(wrapped, num_heads=3)
    assert torch.equal(again.head.weight, model.head.weight)
    assert torch.equal(again.preprocess.pixel_mean, model.preprocess.pixel_mean)
    assert "tell the number of attention heads" in refused(load_classifier, wrapped)
    message = refused(load_classifier, {"model": {**wrapped["model"], "teacher.x": torch.ones(1)}}, num_heads=3)
    assert message.endswith("not the weights of a whole model: unexpected teacher.x")


def test_one_channel_and_half_precision():
    model = Classifier(vit("gap", in_channels=1), 5, [0.3], [0.4])
    half = {name: value.half() for name, value in model.state_dict().items() if not name.startswith("preprocess.")}
    again = load_classifier(half, num_heads=3, pixel_mean=[0.3], pixel_std=[0.4])
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert again.backbone.in_channels == 1


def test_the_arguments_of_an_official_trainer_tell_its_recipe(released):
    """Whose default is targets in pixels; files without arguments are taken to be the released ones."""
    content = {"model": released, "args": argparse.Namespace(norm_pix_loss=False, mask_ratio=0.6, lr=None)}
    model = load_pretrain(content, **HEADS, **CIFAR)
    assert (model.norm_pix, model.mask_ratio) == (False, 0.6)
    model = load_pretrain({**content, "args": argparse.Namespace(mask_ratio="much")}, **HEADS, **CIFAR)
    assert (model.norm_pix, model.mask_ratio) == (True, 0.75)


def test_names_that_are_no_text_are_no_weights():
    assert "holds no weights" in refused(load_pretrain, {0: torch.ones(1)})


def test_a_wrong_entry_beside_the_weights(released):
    with pytest.raises(WeightsError, match="its entry 'dmaelab' is a list"):
        load_pretrain({"model": released, "dmaelab": [3]})
    assert "num_heads x does not divide" in refused(
        load_pretrain, {"model": released, "dmaelab": {"num_heads": "x"}}, **CIFAR
    )
