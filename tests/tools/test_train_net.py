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
        (
            [*PRETRAIN, "--launcher", "slrm"],
            "there is no launcher 'slrm' (did you mean 'slurm'?): choose one of none, local, slurm, or give the dotted"
            " name",
        ),
        ([*PRETRAIN, "--launcher", "my.Launcher", "--dry-run"], "my.Launcher"),
        ([*PRETRAIN, "--launcher", "dmaelab.launch"], "give a class or function that takes the argument `processes`"),
        ([*PRETRAIN, "--wait", "--dry-run"], "--wait is for --launcher local and slurm: without them a command always"),
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


def test_changes_are_allowed_to_a_resume_only(tmp_path):
    ended = call(*PRETRAIN, "--allow-changes", temporary=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.endswith("error: --allow-changes goes with --resume only\n")


@pytest.mark.slow
def test_a_resume_with_other_settings_is_one_line(tmp_path):
    small = ["model.encoder.width=16", "model.encoder.depth=1", "model.decoder.width=16", "train.device=cpu"]
    command = [*PRETRAIN, *small, "train.batch_size=8", "train.eval_images=8", f"train.out_dir={tmp_path / 'run'}"]
    assert call(*command, "train.max_iter=1", temporary=tmp_path).returncode == 0
    ended = call(*command, "train.max_iter=2", "--resume", temporary=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"error: {tmp_path / 'run'} was begun with other settings (train.max_iter is 1 there, 2 now): to go on with the"
        " new ones, add --allow-changes; or choose another train.out_dir\n"
    )
    ended = call(*command, "train.max_iter=2", "--resume", "--allow-changes", temporary=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "resuming with another config: train.max_iter is 1 in the run, 2 now" in ended.stdout + ended.stderr


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
