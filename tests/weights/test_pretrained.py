"""Files of every kind into models in one call, and back into files."""

import argparse
import logging
from pathlib import Path

import pytest
import torch

from dmaelab.corruptions import Gaussian
from dmaelab.losses import MSEMaskedPatches
from dmaelab.modeling import CifarResNet, Classifier, DenoisingMAE, MAEDecoder, ViT
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw
from dmaelab.weights import WeightsError, load_classifier, load_file, load_pretrain, read_weights, save_weights
from dmaelab.weights.facts import STATISTICS, decoder_options, describe, vit_options
from dmaelab.weights.layouts import official_layout, official_name

TINY = Path(__file__).parents[1] / "data" / "dmae_tiny"
HEADS = {"num_heads": 3, "decoder_num_heads": 4}
CIFAR = {"pixel_mean": "cifar10"}
OWN = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def refused(action, *arguments, **options):
    """Return the one line with which something is refused."""
    with pytest.raises(UserError) as error:
        action(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def vit(pool, heads=3, **options):
    torch.manual_seed(0)
    return ViT(24, 2, heads, **{"image_size": 8, "patch_size": 4, "mlp_ratio": 2.0, "pool": pool, **options})


def autoencoder(**options):
    recipe = {"mask_ratio": 0.5, "norm_pix": False, "input_size": 8, **options}
    return DenoisingMAE(
        vit(None), lambda e: MAEDecoder(e, 16, 1, 2), Gaussian(0.25), MSEMaskedPatches(), *OWN, **recipe
    )


def classifier(pool="gap", head="linear"):
    model = Classifier(vit(pool), 5, *OWN, input_size=8, head=head).eval()
    torch.nn.init.normal_(model.head.weight if head == "linear" else model.head[1].weight)
    if head == "bn_linear":
        model.head[0].running_mean.normal_()
        model.head[0].running_var.uniform_(0.5, 2.0)
        model.head[0].num_batches_tracked += 7
    return model


@pytest.fixture(scope="module")
def released():
    """The tensors of the official autoencoder."""
    return load_file(TINY / "pretrain.pth")


@pytest.fixture(scope="module")
def io(reference):
    return reference("pretrain_io.pth")


# Official files


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
    assert (io["pixel_mean"], io["pixel_std"]) == STATISTICS["cifar10"]
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


@pytest.mark.parametrize("size", ["vit_base", "vit_large"])
def test_released_sizes_are_read_off_the_tensors(size):
    width, depth, heads = {"vit_base": (768, 12, 12), "vit_large": (1024, 24, 16)}[size]
    with torch.device("meta"):
        state = official_layout(
            DenoisingMAE(ViT(width, depth, heads, pool=None), MAEDecoder, None, MSEMaskedPatches(), *OWN).state_dict()
        )
    weights = read_weights(state)
    assert vit_options(weights, "encoder", None) == {
        "width": width, "depth": depth, "num_heads": heads, "image_size": 224, "patch_size": 16, "in_channels": 3,
        "mlp_ratio": 4.0,
    }  # fmt: skip
    assert decoder_options(weights, None) == {"width": 512, "depth": 8, "num_heads": 16}


def test_heads_of_other_sizes(caplog):
    """ViT-H has 16 heads of 80; an unknown size of a multiple of 64 is taken by the custom, and said so.

    So are ViT-Ti and ViT-S: MAE-Lite's and MoCo v3's of these widths have 12 heads.
    """

    def encoder(*sizes):
        with torch.device("meta"):
            return {f"encoder.{name}": value for name, value in ViT(*sizes, pool=None).state_dict().items()}

    huge = encoder(1280, 32, 16, 28, 14)
    with caplog.at_level(logging.WARNING, "dmaelab"):
        assert vit_options(read_weights(official_layout(huge)), "encoder", None)["num_heads"] == 16
        assert not caplog.messages
        for width, depth, heads in ((128, 1, 2), (192, 12, 3), (384, 12, 6)):
            state = official_layout(encoder(width, depth, heads, 8, 4))
            assert vit_options(read_weights(state), "encoder", None)["num_heads"] == heads
            assert caplog.messages.pop().endswith(
                f"num_heads is taken to be {heads} for width {width}: pass it if it was trained with another"
            )
            caplog.clear()
            assert vit_options(read_weights(state), "encoder", 12 if width > 128 else 4)["num_heads"] >= 4
            assert not caplog.messages
        assert vit_options(read_weights(official_layout(huge)), "encoder", 20)["num_heads"] == 20
        assert caplog.messages.pop().endswith("num_heads 20 is given, and the published model of this size has 16")
    assert "no tensor shows the attention heads" in refused(vit_options, read_weights(huge), "encoder", None)


def test_our_names_without_facts_tell_no_heads_of_a_decoder():
    with torch.device("meta"):
        state = DenoisingMAE(ViT(24, 1, 3, 8, 4, pool=None), MAEDecoder, None, MSEMaskedPatches(), *OWN).state_dict()
    assert "pass decoder_num_heads" in refused(decoder_options, read_weights(state), None)
    assert decoder_options(read_weights(official_layout(state)), None)["num_heads"] == 16


def test_heads_that_the_file_tells_otherwise_are_refused(tmp_path):
    save_weights(autoencoder(), tmp_path / "x.pth", "official")
    message = refused(load_pretrain, tmp_path / "x.pth", num_heads=4)
    assert message.endswith("x.pth: was trained with num_heads 3, and 4 is given: leave it out")
    assert "decoder_num_heads 2, and 4 is given" in refused(load_pretrain, tmp_path / "x.pth", decoder_num_heads=4)
    load_pretrain(tmp_path / "x.pth", num_heads=3, decoder_num_heads=2)
    save_weights(autoencoder(), tmp_path / "encoder.pth", "timm")
    with pytest.warns(UserWarning, match="encoder only"):  # whose new decoder is not the one that was left out
        model = load_pretrain(tmp_path / "encoder.pth", decoder_num_heads=4)
    assert model.decoder.blocks[0].attn.num_heads == 4
    save_weights(classifier(), tmp_path / "y.pth")
    assert "num_heads 3, and 4 is given" in refused(load_classifier, tmp_path / "y.pth", num_heads=4)


def test_statistics_that_the_file_stores_otherwise_are_refused(tmp_path):
    for layout in ("dmaelab", "official"):
        save_weights(classifier(), tmp_path / "x.pth", layout)
        message = refused(load_classifier, tmp_path / "x.pth", pixel_mean="imagenet")
        assert (
            "stores pixel_mean [0.4, 0.5, 0.6], and [0.485, 0.456, 0.406] is given: leave it out (to change it on"
            " purpose," in message
        )
        wrong = {"pixel_mean": OWN[0], "pixel_std": [0.2, 0.25, 0.3002]}
        assert "stores pixel_std [0.2, 0.25, 0.3], and" in refused(load_classifier, tmp_path / "x.pth", **wrong)
        load_classifier(tmp_path / "x.pth", pixel_mean=OWN[0], pixel_std=OWN[1])


# What is refused


def test_heads_that_cannot_be():
    for options, message in [
        ({}, "no tensor shows the attention heads, and width 48 does not tell them: pass num_heads"),
        ({"num_heads": 5}, "num_heads 5 does not divide width 48"),
        ({"num_heads": 0}, "num_heads 0 does not divide width 48"),
        ({"num_heads": 3, "decoder_num_heads": 5}, "decoder_num_heads 5 does not divide width 32"),
    ]:
        assert message in refused(load_pretrain, TINY / "pretrain.pth", **options, **CIFAR)


def test_statistics_are_an_explicit_choice():
    message = refused(load_classifier, TINY / "classifier_gap.pth", num_heads=3)
    assert message.endswith('pass pixel_mean="imagenet" or "cifar10", or numbers for pixel_mean and pixel_std')
    for mean, std, wrong in [
        ("cifar", None, "pixel_mean is 'cifar'"),
        ("cifar10", [0.2] * 3, "pixel_mean is 'cifar10'"),
        ([0.5] * 3, None, "come together"),
        (None, [0.5] * 3, "come together"),
        ([0.5], [0.5], "are not 3 numbers each"),
        (0.5, 0.5, "are not 3 numbers each"),
        ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "in [0,1] pixel units"),
        (STATISTICS["imagenet"][0], [58.4, 57.1, 57.4], "0 < pixel_std <= 1"),
        ([0.5] * 3, [0.0] * 3, "0 < pixel_std <= 1"),
        ([float("nan")] * 3, [0.5] * 3, "in [0,1] pixel units"),
    ]:
        assert wrong in refused(
            load_classifier, TINY / "classifier_gap.pth", num_heads=3, pixel_mean=mean, pixel_std=std
        )


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
        ([], {"pos_embed": (1, 60, 48)}, "pos_embed has 60 rows: not a class token and a square of patches"),
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
    state = load_file(TINY / "classifier_gap.pth")["model"]
    for drop in ("fc_norm.bias", "head.weight", "blocks.1.norm2.bias"):
        left = {name: value for name, value in state.items() if name != drop}
        assert refused(load_classifier, left, num_heads=3, **CIFAR).endswith(f"whole model: missing {drop}")
    message = refused(load_classifier, state, num_heads=3, pool="cls", **CIFAR)
    assert message.endswith("missing norm.weight, norm.bias; unexpected fc_norm.weight, fc_norm.bias")
    assert "pool is 'mean'" in refused(load_classifier, state, num_heads=3, pool="mean", **CIFAR)


# An encoder alone


@pytest.fixture
def alone(released):
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match="holds an encoder only; its decoder is new") as caught:
        model = load_pretrain(
            {"model": {name: value for name, value in released.items() if not name.startswith(("decoder_", "mask_"))}},
            num_heads=3,
            **CIFAR,
        )
    assert len(caught) == 1
    assert torch.equal(torch.get_rng_state(), before)
    return model


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


def test_a_new_decoder_is_not_written(alone, tmp_path):
    for layout in ("dmaelab", "official", "timm"):
        written = save_weights(alone, tmp_path / f"{layout}.pth", layout)
        assert not [name for name in written if name.startswith(("decoder", "mask_token"))]
    with pytest.warns(UserWarning, match="encoder only"):
        assert describe(load_pretrain(tmp_path / "dmaelab.pth")) == describe(alone)


def test_a_linear_probe_of_the_official_code():
    """The class token after norm, then batch norm by running statistics without weights, eps 1e-6, then linear."""
    state = dict(load_file(TINY / "classifier_cls.pth")["model"])
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


# Our own files, and round trips


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("layout", ["dmaelab", "official"])
def test_an_autoencoder_comes_back(layout, suffix, tmp_path):
    pytest.importorskip("safetensors")
    model, path = autoencoder(), tmp_path / f"weights{suffix}"
    save_weights(model, path, layout)
    again = load_pretrain(path)
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    first, second = (m.reconstruct(images, noise=0.1 * images) for m in (model, again))
    assert torch.equal(first.pred, second.pred)
    assert (again.mask_ratio, again.norm_pix) == (0.5, False)
    assert torch.equal(again.preprocess.pixel_std, model.preprocess.pixel_std)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("layout", ["dmaelab", "official", "timm"])
@pytest.mark.parametrize(
    ("pool", "head"), [("gap", "linear"), ("cls", "linear"), ("cls", "bn_linear"), ("gap", "bn_linear")]
)
def test_a_classifier_comes_back(pool, head, layout, suffix, tmp_path):
    pytest.importorskip("safetensors")
    model, path = classifier(pool, head), tmp_path / f"weights{suffix}"
    if (layout, head) == ("timm", "bn_linear"):
        assert "timm has no batch norm before the head" in refused(save_weights, model, path, layout)
        assert not path.exists()
        return
    save_weights(model, path, layout)
    again = load_classifier(path)
    images = Draw(0, "data").uniform((3, 3, 8, 8))
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    assert describe(again) == describe(model)


def test_official_files_of_ours_load_as_official_ones(tmp_path):
    """Bare, as safetensors are, and under "model", as the official code and timm read .pth files."""
    model = classifier()
    save_weights(model, tmp_path / "x.pth", "official")
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    assert sorted(content) == ["dmaelab", "model"]
    assert content["dmaelab"] == {
        "num_heads": 3,
        "pixel_mean": pytest.approx(OWN[0]),
        "pixel_std": pytest.approx(OWN[1]),
    }
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("preprocess.")}
    assert set(content["model"]) == {official_name(name) for name in own}
    assert all(torch.equal(content["model"][official_name(name)], value) for name, value in own.items())
    safetensors = pytest.importorskip("safetensors.torch")
    save_weights(model, tmp_path / "x.safetensors", "official")
    bare = safetensors.load_file(tmp_path / "x.safetensors")
    assert bare.keys() == content["model"].keys()
    assert all(torch.equal(value, content["model"][name]) for name, value in bare.items())


def test_official_autoencoders_of_ours_hold_the_models_own_tensors(tmp_path):
    model = autoencoder()
    save_weights(model, tmp_path / "x.pth", "official")
    written = torch.load(tmp_path / "x.pth", weights_only=True)["model"]
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("preprocess.")}
    assert set(written) == {official_name(name) for name in own}
    assert all(torch.equal(written[official_name(name)], value) for name, value in own.items())


def test_states_of_our_wrappers_load():
    model = classifier()
    wrapped = {"model": {f"classifier.{name}": value for name, value in model.state_dict().items()}, "step": 3}
    again = load_classifier(wrapped, num_heads=3)
    assert torch.equal(again.head.weight, model.head.weight)
    assert torch.equal(again.preprocess.pixel_mean, model.preprocess.pixel_mean)
    assert "no tensor shows the attention heads" in refused(load_classifier, wrapped)
    message = refused(load_classifier, {"model": {**wrapped["model"], "teacher.x": torch.ones(1)}}, num_heads=3)
    assert message.endswith("not the weights of a whole model: unexpected teacher.x")


def test_one_channel_and_half_precision():
    model = Classifier(vit("gap", in_channels=1), 5, [0.3], [0.4])
    half = {name: value.half() for name, value in model.state_dict().items() if not name.startswith("preprocess.")}
    again = load_classifier(half, num_heads=3, pixel_mean=[0.3], pixel_std=[0.4])
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert again.backbone.in_channels == 1


@pytest.mark.parametrize("pool", ["gap", "cls"])
def test_timm_reads_what_is_written_for_it(pool, tmp_path):
    timm = pytest.importorskip("timm")
    model = classifier(pool)
    save_weights(model, tmp_path / "x.pth", "timm")
    theirs = timm.models.VisionTransformer(
        img_size=8,
        patch_size=4,
        embed_dim=24,
        depth=2,
        num_heads=3,
        mlp_ratio=2,
        num_classes=5,
        global_pool={"gap": "avg", "cls": "token"}[pool],
    ).eval()
    timm.models.load_checkpoint(theirs, str(tmp_path / "x.pth"))
    images = Draw(0, "data").uniform((3, 3, 8, 8))
    with torch.no_grad():
        torch.testing.assert_close(theirs(model.preprocess(images)), model(images), atol=1e-5, rtol=0)


def test_what_cannot_be_written(tmp_path):
    assert "ends in .pth or .safetensors" in refused(save_weights, classifier(), tmp_path / "x.bin")
    resnet = Classifier(CifarResNet(8), 10, *OWN)
    assert "only models with a ViT" in refused(save_weights, resnet, tmp_path / "x.pth")
    assert list(tmp_path.iterdir()) == []


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
