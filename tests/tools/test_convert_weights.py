import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dmaelab.modeling import Classifier, ViT
from dmaelab.utils.errors import MachineError, UserError
from dmaelab.weights import load_classifier, load_pretrain, save_weights

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "convert_weights.py"
TINY = ROOT / "tests" / "data" / "dmae_tiny"


@pytest.fixture
def convert(monkeypatch, capsys):
    """Run the tool in this process and return the lines that it prints."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["convert_weights.py", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        runpy.run_path(str(TOOL))["main"]()
        return capsys.readouterr().out.splitlines()

    return run


def test_an_official_file_to_ours_and_back(convert, tmp_path):
    ours, back, source = tmp_path / "ours.pth", tmp_path / "back.pth", TINY / "trainer_checkpoint.pth"
    first, second = convert(source, ours, "--to", "dmaelab", "--heads", 3, "--decoder-heads", 4, "--stats", "cifar10")
    assert first.startswith(f"{source}: autoencoder: ViT 48 wide, 2 blocks, 3 heads; 3x32x32 images in patches of 4x4;")
    assert first.endswith(
        "decoder 32 wide, 1 blocks, 4 heads; pixel mean [0.4914, 0.4822, 0.4465], deviation [0.2471, 0.2435, 0.2616]"
    )
    assert second.endswith("loaded 50 tensors, new 2 (preprocess.pixel_mean, preprocess.pixel_std), dropped 0")
    convert(ours, back, "--to", "official")
    given, returned = (torch.load(path, weights_only=True) for path in (TINY / "pretrain.pth", back))
    assert list(returned["model"]) == list(given)
    assert all(torch.equal(value, returned["model"][name]) for name, value in given.items())
    assert load_pretrain(back).decoder.blocks[0].attn.num_heads == 4


def test_targets_in_pixels(convert, tmp_path):
    options = ["--to", "dmaelab", "--heads", 3, "--stats", "cifar10"]
    with pytest.raises(UserError, match="give --decoder-heads"):
        convert(TINY / "pretrain.pth", tmp_path / "x.pth", *options)
    for flag, normalised in (([], True), (["--pixel-targets"], False)):
        convert(TINY / "pretrain.pth", tmp_path / "x.pth", *options, "--decoder-heads", 4, *flag)
        assert load_pretrain(tmp_path / "x.pth").norm_pix is normalised
    convert(TINY / "pretrain.pth", tmp_path / "timm.pth", "--to", "timm", *options[2:])  # has no decoder
    convert(TINY / "pretrain.pth", tmp_path / "x.pth", *options, "--decoder-heads", 4)
    with pytest.raises(UserError, match="says that its targets are normalised patches: leave out --pixel-targets"):
        convert(tmp_path / "x.pth", tmp_path / "y.pth", "--to", "dmaelab", "--pixel-targets")


def test_statistics_as_numbers(convert, tmp_path):
    numbers = [0.5, 0.6, 0.7, 0.2, 0.3, 0.4]
    pytest.importorskip("safetensors")
    first, _ = convert(
        TINY / "classifier_gap.pth", tmp_path / "x.safetensors", "--to", "timm", "--heads", 3, "--stats", *numbers
    )
    assert first.endswith("pool gap, 10 classes; pixel mean [0.5, 0.6, 0.7], deviation [0.2, 0.3, 0.4]")
    statistics = load_classifier(tmp_path / "x.safetensors").preprocess.state_dict()
    torch.testing.assert_close(torch.cat([value.flatten() for value in statistics.values()]), torch.tensor(numbers))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stats", "cifar10"], "the converted file must: give --heads"),
        (
            ["--heads", 3, "--stats", "cifar10", "--pixel-targets"],
            "is a classifier: --pixel-targets is for autoencoders",
        ),
        (["--heads", 3], "stores no pixel statistics"),
        (["--heads", 3, "--stats", "0.5", "x"], "--stats 0.5 x: give imagenet, cifar10, or one mean per channel"),
    ],
)
def test_what_is_open_is_asked_for(arguments, message, convert, tmp_path):
    with pytest.raises(UserError) as error:
        convert(TINY / "classifier_cls.pth", tmp_path / "x.pth", "--to", "official", *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--heads", 4], "was trained with num_heads 3, but 4 is given: leave it out"),
        (
            ["--stats", "imagenet"],
            "stores pixel_mean [0.4914, 0.4822, 0.4465], but [0.485, 0.456, 0.406] is given: leave it out",
        ),
    ],
)
def test_what_the_file_tells_otherwise_is_refused(arguments, message, convert, tmp_path):
    source = tmp_path / "cifar.pth"
    save_weights(load_classifier(TINY / "classifier_gap.pth", num_heads=3, pixel_mean="cifar10"), source, "official")
    with pytest.raises(UserError) as error:
        convert(source, tmp_path / "x.pth", "--to", "dmaelab", *arguments)
    assert message in str(error.value)
    assert not (tmp_path / "x.pth").exists()
    convert(source, tmp_path / "x.pth", "--to", "dmaelab", "--heads", 3, "--stats", "cifar10")


def test_a_run_directory(convert, tmp_path):
    """Its config builds the model: an old run, whose file does not tell the heads, converts as well."""
    config = """
model:
  _target_: dmaelab.modeling.NoisyClassifier
  classifier:
    _target_: dmaelab.modeling.Classifier
    backbone: {_target_: dmaelab.modeling.build_backbone, name: vit, width: 24, depth: 1, num_heads: 2, image_size: 8,
        patch_size: 4}
    num_classes: 4
    pixel_mean: [0.4, 0.5, 0.6]
    pixel_std: [0.2, 0.25, 0.3]
  corruption: {_target_: dmaelab.corruptions.build_corruption, name: gaussian, sigma: 0.25}
  loss: {_target_: dmaelab.losses.build_loss, name: rs}
"""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(config)
    model = Classifier(ViT(24, 1, 2, image_size=8, patch_size=4), 4, [0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    torch.save({"model": model.state_dict()}, run / "model_final.pth")
    _, second = convert(run, tmp_path / "x.pth", "--to", "official")
    assert second.endswith("dropped 2 (preprocess.pixel_mean, preprocess.pixel_std)")
    again, images = load_classifier(tmp_path / "x.pth"), torch.ones(1, 3, 8, 8)
    assert torch.equal(again(images), model(images))
    with pytest.raises(UserError, match="a run directory, whose config says all this: leave out all options but --to"):
        convert(run, tmp_path / "x.pth", "--to", "official", "--heads", 2)


def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    def full(state, file):
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    model = Classifier(ViT(24, 1, 2, image_size=8, patch_size=4), 4, [0.5] * 3, [0.5] * 3)
    with pytest.raises(MachineError, match=r"x\.pth: the disk or its server failed, or is full"):
        save_weights(model, tmp_path / "x.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_as_a_command(tmp_path):
    arguments = [str(TINY / "pretrain.pth"), "encoder.pth", "--to", "timm", "--heads", "3", "--decoder-heads", "4"]
    done, refused = (
        subprocess.run(
            [sys.executable, str(TOOL), *arguments, *rest], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for rest in (["--stats", "imagenet"], [])
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "30 tensors with the names of timm" in done.stdout
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert len(refused.stderr.splitlines()) == 1
