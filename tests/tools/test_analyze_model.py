import importlib.util
import json
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "analyze_model.py"


@pytest.fixture
def analyze_model(monkeypatch, capsys):
    """Call the tool's main function in this process and return what it prints."""
    spec = importlib.util.spec_from_file_location("analyze_model", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments, "train.device=cpu", "train.precision=fp32"])
        tool.main()
        return capsys.readouterr().out

    return call


def test_table(analyze_model):
    lines = [line.split(maxsplit=1) for line in analyze_model("cifar10/pretrain", "--batch-size", "64").splitlines()]
    assert ["parameters", "873,776 (0.9M)"] in lines
    assert ["encoder", "808,064"] in lines
    assert ["forward", "18.13M multiply-adds per image"] in lines
    assert " ".join(lines[-1][1].split()) == "of 64 76.5 MiB, the four above together"


def test_json(analyze_model):
    record = json.loads(
        analyze_model("digits/finetune_cr", "--format", "json", "train.batch_size=96", "train.accum_steps=2")
    )
    assert record["parameters"] == sum(record["parts"].values()) == 102_666
    assert record["batch_size"] == 48
    fixed = record["weight_bytes"] + record["gradient_bytes"] + record["optimizer_bytes"]
    assert record["step_bytes"] == fixed + 48 * record["activation_bytes"]


def test_bad_batch_size(analyze_model, capsys):
    with pytest.raises(SystemExit):
        analyze_model("digits/pretrain", "--batch-size", "0")
    assert "--batch-size is 0: it must be at least 1" in capsys.readouterr().err
