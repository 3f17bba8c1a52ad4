"""What the documents promise: links lead somewhere, commands run, the shown error is the one that comes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dmaelab.config import LazyConfig, trust
from dmaelab.config.check import check_targets
from dmaelab.config.targets import locate
from dmaelab.engine import open_certification
from dmaelab.records.readers import read_log
from dmaelab.utils import cli
from dmaelab.utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("projects/**/*.md")])
README = (ROOT / "README.md").read_text()
BUDGET = {
    "tools/train_net.py": ["train.max_iter=3", "train.batch_size=32", "train.device=cpu", "train.eval_images=20"],
    "tools/certify.py": [
        "certifier.n=50",
        "certifier.n0=10",
        "certify.batch_size=64",
        "certify.device=cpu",
        'certify.subset={"count": 4}',
    ],
}


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text):
    """Return the `python ...` lines of the bash blocks, each with the comment line below it if there is one."""
    found = []
    for block in blocks(text, "bash"):
        lines = block.splitlines()
        for line, below in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("python tools/") or line.startswith("python -m dmaelab"):
                found.append((line.split("#")[0].strip(), below.removeprefix("# ") if below.startswith("# ") else None))
    return found


def run(command, folder, *extra):
    words = shlex.split(command)[1:]
    words = [str(ROOT / word) if word.startswith("tools/") else word for word in words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words, *extra], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.slow
def test_the_readme_step_by_step_with_a_small_budget(tmp_path):
    steps = [command for command, error in commands(README) if error is None]
    assert len(steps) >= 10
    for command in steps:
        tool = command.split()[1]
        result = run(
            command,
            tmp_path,
            *([] if any(flag in command for flag in ("--dry-run", "--debug", "--verify")) else BUDGET.get(tool, [])),
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    assert (tmp_path / "runs/digits/pretrain/reconstruction.png").exists()
    assert (tmp_path / "runs/digits/curves.png").exists()


def test_the_readme_shows_the_error_that_comes(tmp_path):
    shown = [(command, error) for command, error in commands(README) if error is not None]
    assert shown
    for command, error in shown:
        result = run(command, tmp_path)
        assert result.returncode == 2
        assert result.stderr.strip() == error


def test_the_readme_example_of_any_classifier(tmp_path, monkeypatch):
    example = next(block for block in blocks(README, "python") if "SmoothedClassifier" in block)
    names = {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 10)), "image": torch.rand(3, 4, 4)}
    names["dataset"] = [(names["image"], 0), (torch.rand(3, 4, 4), 1)]
    monkeypatch.chdir(tmp_path)
    exec(example.replace("10_000", "200"), names)
    assert names["prediction"] in range(-1, 10)
    assert len(read_log(tmp_path / "logs/mine")) == 2


def test_the_example_of_a_torchvision_model(tmp_path, monkeypatch):
    """As it stands, but for random weights, small images and few samples."""
    pytest.importorskip("torchvision")
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "imagenet/val" / name).mkdir(parents=True)
        Image.new("RGB", (40, 50), (90, 120, 200)).save(tmp_path / "imagenet/val" / name / "1.png")
    example = next(
        block for block in blocks((ROOT / "docs/certification.md").read_text(), "python") if "torchvision" in block
    )
    assert len([line for line in example.splitlines() if line and "import" not in line]) <= 10
    for old, new in (
        ('resnet50(weights="DEFAULT")', "resnet18(num_classes=2)"), ("network), 1000", "network), 2"),
        ("Resize(256)", "Resize(40)"),
        ("CenterCrop(224)", "CenterCrop(32)"),
        ("100, 10_000, 0.001, 256", "10, 50, 0.001, 16"), ("len(dataset), 50", "len(dataset), 1"),
        (', device="cuda"', ""),
    ):  # fmt: skip
        assert old in example
        example = example.replace(old, new)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example, names)
    assert [row["idx"] for row in names["rows"]] == [0, 1]
    assert len(read_log(tmp_path / "logs/resnet50")) == 2


def test_the_example_of_released_weights():
    """With the tiny files in the place of the released ones, whose heads have to be given."""
    (example,) = blocks((ROOT / "docs/weights.md").read_text(), "python")
    tiny = ROOT / "tests/data/dmae_tiny"
    for old, new in (
        (
            '"dmae_base_sigma_0.25_mask_0.75_1100e.pth", ',
            f'"{tiny / "pretrain.pth"}", num_heads=3, decoder_num_heads=4, ',
        ),
        ('"checkpoint-49.pth", ', f'"{tiny / "classifier_gap.pth"}", num_heads=3, '),
    ):
        assert old in example
        example = example.replace(old, new)
    names = {"torch": torch, "images": torch.rand(2, 3, 32, 32)}
    exec(example, names)
    assert names["result"].pred.shape == (2, 64, 48)
    assert names["model"](names["images"]).shape == (2, 10)


def test_the_example_of_a_config_for_a_module(tmp_path, monkeypatch):
    example = next(
        block for block in blocks((ROOT / "docs/certification.md").read_text(), "python") if "MyNetwork" in block
    )
    network = (
        "from torch import nn\nclass MyNetwork(nn.Linear):\n    def __init__(self, weights):\n       "
        " super().__init__(3072, 10)\n"
    )
    (tmp_path / "my_package.py").write_text(network)
    (tmp_path / "my_certification.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert open_certification("my_certification.py").cfg.certifier.name == "sequential"


def _table_of_trust():
    rows = re.findall(r"^\| `([\w.]+)` \| (yes|no) \|", (ROOT / "docs/trust.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    return rows


@pytest.mark.parametrize(("target", "allowed"), _table_of_trust())
def test_the_table_of_what_data_may_build(target, allowed, monkeypatch):
    monkeypatch.setattr(trust, "_targets", set())  # of configs that were loaded before
    if allowed == "yes":
        assert callable(locate(target))
    else:
        with pytest.raises(ConfigError, match=r"' may be called by a Python config only"):
            locate(target)


def test_the_shown_error_names_the_plug_in_to_add(tmp_path, monkeypatch):
    """The error of a run directory that calls a function of a module of the user's own."""
    shown = next(block for block in blocks((ROOT / "docs/trust.md").read_text(), "") if "error:" in block)
    (tmp_path / "my_module.py").write_text("def make(): ...\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("model: {_target_: my_module.make}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as error:
        check_targets(LazyConfig.load(tmp_path / "run/config.yaml"))
    assert " ".join(shown.split()) == f"error: runs/mine: {error.value}"


def test_the_readme_names_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_package_is_in_the_wheel():
    listed = re.search(r"packages =\n((?:    \S+\n)+)", (ROOT / "setup.cfg").read_text())[1].split()
    there = [".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("dmaelab/**/__init__.py")]
    assert sorted(listed) == sorted([*there, "dmaelab._configs"])


def test_the_table_of_exit_statuses_is_that_of_the_tools():
    text = (ROOT / "docs/interruptions.md").read_text()
    rows = re.search(r"## Exit statuses\n\n\| status .*\n\|-.*\n((?:\|.*\n)+)", text)[1].splitlines()
    named = {value for name, value in vars(cli).items() if name.isupper() and isinstance(value, int)}
    assert [cli.WRONG_INPUT, cli.MACHINE_FAILED, cli.PREEMPTED, cli.INTERRUPTED] == [2, 71, 75, 130]
    assert {int(row.split("|")[1]) for row in rows} == named | {0, 1}  # 1: what a log claims, or an attack found
