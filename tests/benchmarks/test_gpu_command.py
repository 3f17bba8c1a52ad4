"""``python -m benchmarks.gpu``: a trial on the CPU runs through; what fails or hangs takes nothing else with it."""

import json
import math
import os
import subprocess
import sys
import tarfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import phases, record
from dmaelab.utils.cli import run_main

ROOT = Path(__file__).parents[2]
NAMES = [phase.name for phase in phases.PHASES]
CPU = torch.device("cpu")


def run(folder, *extra):
    words = ["--device", "cpu", "--tiny", "--minutes", "9", "--output", str(folder), *extra]
    env = {name: value for name, value in os.environ.items() if name != "DMAELAB_DATA"}
    words = [sys.executable, "-m", "benchmarks.gpu", *words]
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=580)


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def numbers(value):
    """Yield all numbers in nested figures."""
    if isinstance(value, dict):
        for entry in value.values():
            yield from numbers(entry)
    elif isinstance(value, (int, float)):
        yield value


@pytest.mark.slow
def test_a_trial_measures_everything_that_a_cpu_can(tmp_path):
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    found = {name: read(tmp_path, name) for name in NAMES}
    assert {phase["status"] for phase in found.values()} == {"finished"}
    assert all(math.isfinite(number) for phase in found.values() for number in numbers(phase["measurements"]))
    assert not [name for phase in found.values() for name, row in phase["measurements"].items() if "error" in row]

    certification = found["certification"]["measurements"]
    for subject in ("ViT, 8x8", "ResNet-8, 8x8"):
        assert list(certification[subject]) == ["reference's loop", "bf16", "fp16"]
        for row in certification[subject].values():
            assert row["rows/s"] > 0
            assert row["share of the matmul peak"] > 0  # above 1 where a processor emulates bf16 products
            assert 0 < row["our noise, share of the time"] < 1
        assert "CUDA device" in certification[f"{subject}, bf16, CUDA graph"]["skipped"]
        assert "compiler" in certification[f"{subject}, compiled"]["skipped"]
    training = found["training"]["measurements"]
    for task in ("DMAE pre-training, tiny", "CR fine-tuning, tiny"):
        assert training[task]["ours"]["images/s"] > 0
        assert training[task]["reference's loop"]["over reference's loop"] == 1
    assert all("fast" in row["verdict"] for row in found["rules"]["measurements"].values())
    loaders = found["loaders"]["measurements"]
    assert loaders["images in memory"]["resident"]["equal pixels"] is True
    assert loaders["cores for JPEGs"]["CR fine-tuning, tiny"]["cores"] >= 1
    assert "no data" in found["evidence"]["measurements"]["DMAE against MAE"]["skipped"]

    page = (tmp_path / "gpu.md").read_text()
    assert [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")] == NAMES
    assert "not run" not in page


@pytest.mark.slow
def test_a_trial_of_the_evidence_on_an_archive(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(60):
        folder = tmp_path / "cifar10-jpeg" / ("train" if number < 40 else "test") / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")
    with tarfile.open(tmp_path / "data.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "cifar10-jpeg", "cifar10-jpeg")
    result = run(tmp_path / "out", "--phases", "evidence", "--data", str(tmp_path / "data.tar.xz"))
    assert result.returncode == 0, result.stderr
    evidence = read(tmp_path / "out", "evidence")
    assert evidence["measurements"]["data"]["train images"] == 40
    report = evidence["measurements"]["DMAE against MAE, rs, cr, probe"]["report"]
    for label in ("MAE + probe", "DMAE + cr", "McNemar"):
        assert label in report
    assert len(evidence["logs"]) == 6
    page = (tmp_path / "out" / "gpu.md").read_text()
    assert report in page
    assert page.count("not run") == len(NAMES) - 1


def write_phases(folder, monkeypatch, **sources):
    """Write modules for phases, and return the phases; the first has the smallest share of the time."""
    for name, last in sources.items():
        lines = ["import os, time", "def run(record):", "    record.add('early', {'x': 1})", f"    {last}"]
        (folder / f"{name}.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    weights = [2, *[3] * (len(sources) - 1)]
    return [phases.Phase(name, weight, 0.1, name) for name, weight in zip(sources, weights, strict=True)]


@pytest.mark.slow
def test_a_phase_that_hangs_or_dies_keeps_what_it_has_and_the_next_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(phases, "GRACE", 0.5)
    own = write_phases(tmp_path, monkeypatch, hangs="time.sleep(600)", dies="os.abort()", raises="1 / 0", works="pass")
    monkeypatch.setattr(phases, "PHASES", own)
    setting = phases.Setting(tmp_path, "cpu", False, None, {"device": "a"}, {})
    started = time.monotonic()
    phases.run_all(own, setting, 60)
    assert time.monotonic() - started < 55
    found = {phase.name: read(tmp_path, phase.name) for phase in own}
    assert all(phase["measurements"] == {"early": {"x": 1}} for phase in found.values())
    assert found["hangs"]["status"] == "cut off at its time limit"
    assert found["dies"]["status"] == "failed: its process ended with status -6"
    assert found["raises"]["status"] == "failed: ZeroDivisionError: division by zero"
    assert found["works"]["status"] == "finished"
    assert "cut off at its time limit" in (tmp_path / "gpu.md").read_text()


def test_a_phase_whose_share_is_too_short_is_skipped(tmp_path, monkeypatch):
    own = [phases.Phase("tests", 1, 1e6)]
    phases.run_all(own, phases.Setting(tmp_path, "cpu", False, None, {"device": "a"}, {}), 5)
    assert read(tmp_path, "tests")["status"] == "skipped: its share is 5 s, and it needs 1000000"
    assert "needs 1000000" in (tmp_path / "gpu.md").read_text()


@pytest.fixture
def rec(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"phase": "x", "measurements": {}}))
    return record.Record(path, time.time() + 60, CPU)


def out_of_memory(above):
    def work(size):
        if size > above:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return {"batch": size}

    return work


def test_memory_that_runs_out_is_recorded_with_the_size_and_the_size_is_halved(rec, tmp_path):
    assert rec.measure("fits", out_of_memory(150), size=512) == {"batch": 128}
    assert rec.measure("never", out_of_memory(0), size=512) is None
    assert rec.measure("without a size", lambda: out_of_memory(0)(1)) is None
    assert read(tmp_path, "x")["measurements"] == {
        "fits": {"batch": 128, "out of memory at": [512, 256]},
        "never": {"error": "out of memory", "out of memory at": [512, 256, 128, 64]},
        "without a size": {"error": "out of memory", "out of memory at": ["its only size"]},
    }


def test_what_fails_takes_too_long_or_does_not_fit_is_one_line(rec, tmp_path):
    assert rec.measure("fails", lambda: {"x": 1 / 0}) is None
    assert rec.measure("hangs", lambda: time.sleep(30), limit=0.2) is None
    assert rec.measure("large", lambda: {"x": 1}, needs=1000) is None
    assert rec.measure("works", lambda: {"x": 1.23456789}) == {"x": 1.23456789}
    found = read(tmp_path, "x")["measurements"]
    assert found["fails"] == {"error": "ZeroDivisionError: division by zero"}
    assert found["hangs"] == {"error": "given up after 0.2 s"}
    assert "it needs 1000 s" in found["large"]["skipped"]
    assert found["works"] == {"x": 1.2346}


def refusal(monkeypatch, capsys, *words):
    """Return the one line with which the command refuses."""
    monkeypatch.setattr(sys, "argv", ["gpu", *map(str, words)])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with pytest.raises(SystemExit) as stop:
        run_main(command.main)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "error: --minutes is 0: give a number above 0"),
        (["--minutes", "nan"], "error: --minutes is nan: give a number above 0"),
        (["--minutes", "0.1"], "is too short for any phase: give at least"),
        (["--phases", "certifcation"], "there is no phase 'certifcation' (did you mean 'certification'?)"),
        (["--device", "gpu"], "device is 'gpu': choose"),
        (["--data", "nowhere.tar.xz"], "--data: there is no file nowhere.tar.xz"),
    ],
)
def test_bad_input_is_refused_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    assert message in refusal(monkeypatch, capsys, "--output", tmp_path, "--device", "cpu", *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_refused(tmp_path, monkeypatch, capsys):
    assert "no usable CUDA device" in refusal(monkeypatch, capsys, "--output", tmp_path, "--device", "cuda")


OTHERS = {"device": "NVIDIA H200", "code": "0123456789ab", "dmaelab": "9.9", "tiny": True}


@pytest.mark.parametrize(("key", "value"), OTHERS.items())
def test_a_folder_with_other_figures_is_refused(key, value, tmp_path, monkeypatch, capsys):
    facts = command.facts_of(CPU, False, command.environment())
    (tmp_path / "rules.json").write_text(json.dumps({"run": facts | {key: value}}))
    line = refusal(monkeypatch, capsys, "--output", tmp_path, "--device", "cpu")
    assert f"rules.json was measured with {key} {value}, and here it is {facts[key]}" in line
    command.check_folder(tmp_path, facts | {key: value})
