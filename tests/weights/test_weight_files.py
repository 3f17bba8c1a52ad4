import argparse
import pickle
import sys
from pathlib import Path

import pytest
import torch

from dmaelab.corruptions import Gaussian
from dmaelab.losses import RS, MSEAllPatches
from dmaelab.modeling import CifarResNet, Classifier, DenoisingMAE, MAEDecoder, NoisyClassifier, ViT
from dmaelab.utils.random import Draw
from dmaelab.weights import WeightsError, facts, load_exact, load_file, load_pretrained, read_weights
from dmaelab.weights.facts import facts_of
from dmaelab.weights.files import FACTS
from dmaelab.weights.layouts import official_layout, timm_layout

OWN = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def vit(pool, width=24, depth=1):
    return ViT(width, depth, 3, image_size=8, patch_size=4, pool=pool)


def autoencoder(**options):
    return DenoisingMAE(
        vit(None, **options), lambda e: MAEDecoder(e, 16, 1, 2), Gaussian(0.25), MSEAllPatches(), [0.0] * 3, [1.0] * 3
    )


def noisy_classifier(backbone):
    return NoisyClassifier(Classifier(backbone, 4, *OWN), Gaussian(0.25), RS())


def refused(action, *arguments):
    """Return the one line with which the weights are refused."""
    with pytest.raises(WeightsError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def pretrained():
    """Weights of an autoencoder none of which has its initial value."""
    state = autoencoder().state_dict()
    return {name: Draw(0, "data", name).normal(value.shape) for name, value in state.items()}


@pytest.mark.parametrize("pool", ["gap", "cls"])
def test_a_classifier_takes_the_encoder(pretrained, pool):
    model = noisy_classifier(vit(pool))
    initial = {name: value.clone() for name, value in model.export().state_dict().items()}
    report = load_pretrained(model, pretrained)

    trunk = {
        name for name in initial if name.startswith("backbone.") and "norm." not in name.replace("backbone.blocks", "")
    }
    new = {"head.weight", "head.bias"} | (
        {"backbone.fc_norm.weight", "backbone.fc_norm.bias"} if pool == "gap" else set()
    )
    norm = {"backbone.norm.weight", "backbone.norm.bias"}
    decoder = {name for name in pretrained if name.startswith("decoder.")}
    assert set(report.new) == new
    assert set(report.dropped) == decoder | (norm if pool == "gap" else set())
    assert set(report.loaded) == trunk | (norm if pool == "cls" else set())
    assert len(report.loaded) == (16 if pool == "gap" else 18)

    loaded = model.export().state_dict()
    for name in report.loaded:
        assert torch.equal(loaded[name], pretrained[name.replace("backbone.", "encoder.")]), name
    for name in set(loaded) - set(report.loaded):
        assert torch.equal(loaded[name], initial[name]), name


def test_pixel_statistics_stay_those_of_the_config(pretrained):
    model = noisy_classifier(vit("gap"))
    load_pretrained(model, pretrained)
    torch.testing.assert_close(model.classifier.preprocess.pixel_mean.flatten(), torch.tensor(OWN[0]))
    torch.testing.assert_close(model.classifier.preprocess.pixel_std.flatten(), torch.tensor(OWN[1]))


def test_the_report_is_one_readable_line(pretrained):
    line = str(load_pretrained(noisy_classifier(vit("gap")), pretrained))
    assert line.startswith("loaded 16 tensors, new 4 (backbone.fc_norm, head.bias, head.weight), dropped 22 (")
    assert line.endswith(", ...)")
    assert str(load_pretrained(autoencoder(), pretrained)) == "loaded 38 tensors, new 0, dropped 0"


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_classifier_takes_another_classifier(wrapped):
    source, model = noisy_classifier(vit("gap")), noisy_classifier(vit("gap"))
    report = load_pretrained(model, (source if wrapped else source.export()).state_dict())
    assert not report.new
    assert not report.dropped
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    assert torch.equal(model.export()(images), source.export()(images))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: noisy_classifier(vit("gap", width=48)),
            r"backbone.cls_token is [1, 1, 24] in the file and [1, 1, 48] in the model",
        ),
        (
            lambda: noisy_classifier(vit("gap", depth=2)),
            "backbone.blocks.1.norm1.weight is in the model and not in the file",
        ),
        (lambda: noisy_classifier(CifarResNet(8)), "backbone.conv1.weight is in the model and not in the file"),
        (lambda: autoencoder(width=48), "encoder.cls_token is [1, 1, 24] in the file and [1, 1, 48] in the model"),
        (lambda: autoencoder(depth=2), "encoder.blocks.1.norm1.weight is in the model and not in the file"),
    ],
    ids=["width", "depth", "resnet", "autoencoder-width", "autoencoder-depth"],
)
def test_another_architecture_is_named_and_nothing_is_loaded(pretrained, make, message):
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert refused(load_pretrained, model, pretrained) == f"the dictionary: weights of another architecture: {message}"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_deeper_file_and_a_classifier_for_an_autoencoder(pretrained):
    deep = autoencoder(depth=2).state_dict()
    assert "backbone.blocks.1.norm1.weight is in the file and not in the model" in refused(
        load_pretrained, noisy_classifier(vit("gap")), deep
    )
    state = noisy_classifier(vit("gap")).state_dict()
    assert "encoder.cls_token is in the model and not in the file" in refused(load_pretrained, autoencoder(), state)


def test_other_heads_than_were_published_are_refused(pretrained, monkeypatch):
    """Of the size of ViT-B, 16 instead of 12 would load into every tensor; here a small size stands for it."""
    monkeypatch.setitem(facts._PUBLISHED_HEADS, (24, 1), 4)
    message = refused(load_pretrained, noisy_classifier(vit("gap")), {"model": timm_layout(pretrained)})
    assert message == "the dictionary: trained with num_heads 4, and the model has 3: set num_heads to 4"


def test_other_heads_than_the_file_tells_are_refused(pretrained):
    """No tensor shows them: without the check a model with others loads, and computes something else."""
    model = autoencoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for told, wrong in [
        ({"num_heads": 4}, "num_heads 4, and the model has 3"),
        ({"decoder_num_heads": 4}, "decoder_num_heads 4, and"),
    ]:
        assert f"trained with {wrong}" in refused(
            load_pretrained, model, {"model": pretrained, FACTS: {**facts_of(model), **told}}
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    message = refused(load_pretrained, noisy_classifier(vit("gap")), {"model": pretrained, FACTS: {"num_heads": 4}})
    assert message == "the dictionary: trained with num_heads 4, and the model has 3: set num_heads to 4"
    load_pretrained(
        noisy_classifier(vit("gap")), {"model": pretrained, FACTS: {"num_heads": 3, "decoder_num_heads": 4}}
    )
    load_pretrained(autoencoder(), {"model": timm_layout(pretrained), FACTS: {"num_heads": 3, "decoder_num_heads": 4}})


def test_a_tensor_beside_a_wrapper_is_named():
    state = {**noisy_classifier(vit("gap")).state_dict(), "teacher.x": torch.ones(1)}
    assert "teacher.x is in the file and not in the model" in refused(
        load_pretrained, noisy_classifier(vit("gap")), state
    )


def test_other_classes_are_another_architecture():
    state = Classifier(vit("gap"), 7, *OWN).state_dict()
    message = refused(load_pretrained, noisy_classifier(vit("gap")), state)
    assert "head.weight is [7, 24] in the file and [4, 24] in the model" in message


def test_exact_loading_takes_everything_statistics_included():
    source, model = Classifier(vit("gap"), 4, *OWN), Classifier(vit("gap"), 4, [0.0] * 3, [1.0] * 3)
    load_exact(model, {f"classifier.{name}": value for name, value in source.state_dict().items()}, "file")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_exact_loading_misses_nothing():
    state = Classifier(vit("gap"), 4, *OWN).state_dict()
    model = Classifier(vit("gap"), 4, [0.0] * 3, [1.0] * 3)
    without = {name: value for name, value in state.items() if name != "preprocess.pixel_std"}
    assert "preprocess.pixel_std is in the model and not in the file" in refused(load_exact, model, without, "file")
    assert "extra is in the file and not in the model" in refused(
        load_exact, model, {**state, "extra": torch.zeros(1)}, "file"
    )
    assert "head.bias is [5] in the file and [4] in the model" in refused(
        load_exact, model, {**state, "head.bias": torch.zeros(5)}, "file"
    )
    assert torch.equal(model.preprocess.pixel_mean.flatten(), torch.zeros(3))


def test_official_names_and_wrappers_are_understood(pretrained):
    official = official_layout(pretrained)
    assert "mask_token" in official
    assert "blocks.0.attn.qkv.weight" in official
    expected = str(load_pretrained(noisy_classifier(vit("gap")), pretrained))
    for state in (official, {f"module.{name}": value for name, value in official.items()}):
        model = noisy_classifier(vit("gap"))
        assert str(load_pretrained(model, state)) == expected
        assert torch.equal(model.classifier.backbone.cls_token, pretrained["encoder.cls_token"])
        assert str(load_pretrained(autoencoder(), state)) == "loaded 38 tensors, new 0, dropped 0"


def test_an_encoder_alone_leaves_the_decoder_new(pretrained):
    model = autoencoder()
    initial = {name: value.clone() for name, value in model.decoder.state_dict().items()}
    encoder = timm_layout(pretrained)
    report = load_pretrained(model, encoder)
    assert report.new == [f"decoder.{name}" for name in initial]
    assert torch.equal(model.encoder.norm.weight, pretrained["encoder.norm.weight"])
    assert all(torch.equal(value, initial[name]) for name, value in model.decoder.state_dict().items())
    assert load_pretrained(noisy_classifier(vit("cls")), encoder).new == ["head.weight", "head.bias"]


def test_half_a_decoder_is_another_architecture(pretrained):
    state = {name: value for name, value in pretrained.items() if name != "decoder.mask_token"}
    assert "decoder.mask_token is in the model and not in the file" in refused(load_pretrained, autoencoder(), state)


def test_positions_of_another_grid_are_interpolated(pretrained):
    model = noisy_classifier(ViT(24, 1, 3, image_size=16, patch_size=4, pool="gap"))
    report = load_pretrained(model, pretrained)
    assert str(report).endswith(", interpolated backbone.pos_embed 2x2 -> 4x4")
    table, given = model.classifier.backbone.pos_embed.detach(), pretrained["encoder.pos_embed"]
    assert torch.equal(table[:, 0], given[:, 0])
    patches = given[:, 1:].view(1, 2, 2, 24).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(patches, size=(4, 4), mode="bicubic", align_corners=False)
    torch.testing.assert_close(table[0, 1:], expected[0].flatten(1).T)
    larger = DenoisingMAE(
        ViT(24, 1, 3, image_size=16, patch_size=4, pool=None),
        lambda e: MAEDecoder(e, 16, 1, 2),
        None,
        MSEAllPatches(),
        [0.0] * 3,
        [1.0] * 3,
    )
    assert load_pretrained(larger, pretrained).resized == [
        "encoder.pos_embed 2x2 -> 4x4",
        "decoder.pos_embed 2x2 -> 4x4",
    ]


def test_a_table_that_is_no_grid_or_of_another_width_is_refused(pretrained):
    for shape in ((1, 4, 24), (1, 17, 32), (17, 24), (1, 1, 24)):
        state = {**pretrained, "encoder.pos_embed": torch.zeros(shape)}
        assert f"backbone.pos_embed is {list(shape)} in the file" in refused(
            load_pretrained, noisy_classifier(vit("gap")), state
        )


def test_numbers_of_another_kind_are_refused(pretrained):
    state = {**pretrained, "encoder.norm.bias": torch.zeros(24, dtype=torch.int8)}
    assert "encoder.norm.bias holds numbers of type torch.int8" in refused(load_pretrained, autoencoder(), state)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({}, "nothing"),
        ({"model": 3, "epoch": 1}, "model, epoch"),
        ({"a": torch.ones(1), "b": "x"}, "a, b"),
        ({"model": {}}, "model"),
    ],
)
def test_a_file_without_weights_is_named(content, shown):
    assert f"holds no weights: neither tensors by name nor an entry 'model' of such ({shown})" in refused(
        read_weights, content
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": {"a": torch.arange(500.0)}, "step": 3, "name": "x"}, path)
    return path


def test_a_file_gives_back_what_was_saved(saved):
    content = load_file(str(saved))
    assert content["step"] == 3
    assert torch.equal(content["model"]["a"], torch.arange(500.0))


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "no.pth", tmp_path):
        assert refused(load_file, path) == f"{path}: there is no such file of weights"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(saved, share):
    raw = saved.read_bytes()
    saved.write_bytes(raw[: int(share * len(raw))])
    message = refused(load_file, saved)
    assert message.startswith(f"{saved}: ")
    assert "truncated or not a checkpoint" in message


@pytest.mark.parametrize(
    "content", [b"hello\n", b"t.", b"u.", b"G1.", b"0.", bytes(range(256)), b"PK\x03\x04 but no archive"]
)
def test_other_files_are_no_checkpoints(saved, content):
    saved.write_bytes(content)
    assert "not a " in refused(load_file, saved)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))], ids=["torch", "pickle"]
)
def test_pickled_code_is_never_run(saved, tmp_path, save):
    save({"model": {"a": torch.ones(2)}, "args": Payload(tmp_path / "executed")}, saved)
    message = refused(load_file, saved)
    assert message.startswith(str(saved))
    assert not (tmp_path / "executed").exists()


def test_a_trainers_file_with_its_arguments_is_read(saved):
    """The official trainers save an argparse.Namespace beside the weights."""
    content = {"model": {"a": torch.ones(2)}, "epoch": 3, "args": argparse.Namespace(lr=1e-3)}
    torch.save(content, saved)
    assert load_file(saved)["args"] == content["args"]


def test_arguments_that_hide_code_are_refused(saved, tmp_path):
    """The allowed class opens no door for others inside it, and is allowed for our reader alone."""
    torch.save({"model": {"a": torch.ones(2)}, "args": argparse.Namespace(x=Payload(tmp_path / "executed"))}, saved)
    assert "holds pickled Python objects, which could run code" in refused(load_file, saved)
    assert not (tmp_path / "executed").exists()
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_a_class_that_the_caller_allowed_stays_allowed(saved):
    with torch.serialization.safe_globals([argparse.Namespace]):
        load_file(saved)
        assert argparse.Namespace in torch.serialization.get_safe_globals()


def test_safetensors_are_read(saved):
    safetensors = pytest.importorskip("safetensors.torch")
    path = saved.with_suffix(".safetensors")
    safetensors.save_file({"a": torch.arange(500.0)}, path)
    assert torch.equal(load_file(path)["model"]["a"], torch.arange(500.0))
    for damaged in (path.read_bytes()[:300], b"", b"hello"):
        path.write_bytes(damaged)
        assert f"{path}: truncated or not a safetensors file" in refused(load_file, path)


def test_without_the_package_safetensors_are_refused_with_the_way_out(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    saved.with_suffix(".safetensors").write_bytes(b"")
    assert "pip install safetensors" in refused(load_file, saved.with_suffix(".safetensors"))


def test_a_bare_tensor_is_no_dictionary(saved):
    torch.save(torch.ones(3), saved)
    assert "holds a Tensor, not a dictionary of weights" in refused(load_file, saved)
