"""The command that trains: its options, and what it says about a mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dmaelab.engine.run_dir import RunDirectory
from dmaelab.weights import read_file

ROOT = Path(__file__).parents[2]
PRETRAIN = ["--config-file", "digits/pretrain"]
DEBUG = ["--config-file", "imagenet/pretrain_base", "--debug"]


def call(*arguments, temporary):
    """Run the command with another folder for temporary files."""
    command = [sys.executable, str(ROOT / "tools/train_net.py"), *map(str, arguments)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config-file", "digits/pretran"], "did you mean 'digits/pretrain'?"),
        ([*PRETRAIN, "--debug"], "--debug: digits/pretrain has no overrides `debug`"),
        ([*PRETRAIN, "--launcher", "slrm"], "there is no launcher 'slrm': choose one of none, or give the dotted name"),
        ([*PRETRAIN, "--launcher", "my.Launcher", "--dry-run"], "my.Launcher"),
        ([*PRETRAIN, "--launcher", "dmaelab.launch"], "give a class or function that takes the argument `processes`"),
        ([*DEBUG, "--processes", "many"], "--processes is 'many': give a number, or 'auto'"),
        ([*DEBUG, "--processes", "0"], "the number of processes is 0: give at least 1"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, words):
    ended = call(*arguments, temporary=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_trial_trains_and_leaves_no_folder(tmp_path):
    ended = call(*DEBUG, temporary=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "finished" in ended.stdout
    assert list(tmp_path.glob("dmaelab*")) == []


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    for name, options in (("one", ["train.accum_steps=2"]), ("two", ["--processes", "2"])):
        out = [f"train.out_dir={tmp_path / name}", "train.milestones={}"]
        ended = call(*DEBUG, *out, *options, temporary=tmp_path)
        assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.glob("torchelastic*")) == []
    one, two = (read_file(RunDirectory(tmp_path / name).weights())["model"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value - two[name]).abs().max() < 1e-6
