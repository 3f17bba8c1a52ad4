"""Signals and Ctrl-C at any moment: the exit status, one line of reason, nothing lost, and no process left."""

import ctypes
import os
import random
import shutil
import sys
import threading
import time
from contextlib import suppress

import pytest
import torch
from forked import Command
from PIL import Image

from dmaelab.records.folders import read_folders

SIGNALS = {
    "once": [["SIGTERM"], ["SIGUSR2"], ["SIGHUP"], ["SIGINT"]],
    "more": [["SIGTERM", "SIGTERM"], ["SIGTERM", "SIGUSR2"], ["SIGUSR2", "SIGTERM"], ["SIGHUP", "SIGINT"]],
}
ALL = [*SIGNALS["once"], *SIGNALS["more"]]
SEED = int(os.environ.get("MOMENTS", random.randrange(10**6)))

SMALL = [
    "model.encoder.width=16", "model.encoder.depth=1", "model.decoder.width=16", "train.precision=fp32",
    "train.device=cpu", "train.log_period=1", "train.eval_period=4", "train.eval_images=40", "train.batch_size=32",
    "train.checkpoint_period=4",
]  # fmt: skip
QUICK = [
    "certify.device=cpu", "certifier.n=2000", "certifier.n0=20", "certify.batch_size=100", 'certify.subset={"count": 8}'
]  # fmt: skip
LONG = ["certifier.n=10000", "certify.subset=None"]  # the first row comes soon, the last one late
CONTINUE = "continue with --resume (a pipeline: with the same command)"


def train(folder, *overrides, resume=True, before=lambda: None, config="digits/pretrain", name="run"):
    """Start a training of 24 steps in ``folder/run``."""
    options = ["--resume"] if resume else []
    out = [f"train.out_dir={folder / name}", "train.max_iter=24"]
    return Command(
        folder, "train_net.py", "--config-file", config, *options, *SMALL, *out, *overrides, before=before
    )  # fmt: skip


def weights(run):
    return torch.load(run / "model_final.pth", weights_only=True)["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def reason_of(names, status, errors):
    """Check the status and that there is one reason; return it."""
    # Of two signals at the same time, the process may see either first.
    assert status in {130 if name == "SIGINT" else 75 for name in names}, errors
    ctrl_c = status == 130
    reasons = [line for line in errors if not line.startswith(("stopping after this step", "warning: "))]
    assert len(reasons) == 1, errors
    assert ("interrupted" in reasons[0] or "Ctrl-C" in reasons[0]) if ctrl_c else "a signal" in reasons[0]
    return reasons[0]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Return the folder of an uninterrupted training, and its seconds."""
    folder = tmp_path_factory.mktemp("unbroken")
    begin = time.monotonic()
    status, errors = train(folder).end()
    assert status == 0, errors
    return folder / "run", time.monotonic() - begin


def moments(count, seconds):
    print(f"MOMENTS={SEED}")
    draw = random.Random(SEED)
    return [(draw.uniform(0, seconds), draw.choice(ALL)) for _ in range(count)]


@pytest.mark.parametrize("count", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_a_training_that_is_stopped_at_any_moment_continues_exactly(tmp_path, unbroken, count):
    for seconds, names in moments(count, unbroken[1]):
        command = train(tmp_path)
        command.sleep(seconds)
        command.send(*names)
        status, errors = command.end()
        if status != 0:  # else it had finished
            reason = reason_of(names, status, errors)
            assert any(words in reason for words in ("--resume", "give the same command again", "is finished"))
        assert not list(tmp_path.glob("run/**/*.tmp"))
    status, errors = train(tmp_path).end()
    assert status == 0, errors
    assert same(weights(tmp_path / "run"), weights(unbroken[0]))


FEW = [["SIGUSR2"], ["SIGINT"], ["SIGTERM", "SIGUSR2"], *(pytest.param(names, marks=pytest.mark.slow) for names in ALL)]


@pytest.mark.parametrize("names", FEW, ids="-".join)
def test_in_the_loop_the_step_is_saved(tmp_path, names):
    command = train(tmp_path, "train.max_iter=1000000", "train.eval_period=0", resume=False)
    command.until(lambda: "step 2/" in command.printed())
    command.send(*names)
    status, errors = command.end()
    ctrl_c = status == 130
    reason = reason_of(names, status, errors)
    assert reason.startswith("stopped at step ")
    assert reason.endswith(f"by {'Ctrl-C' if ctrl_c else 'a signal'}; the state is saved: {CONTINUE}")
    step = int(reason.split()[3])
    assert (tmp_path / f"run/checkpoints/step_{step:07d}.pth").exists()
    assert errors.count("stopping after this step; Ctrl-C again ends at once") == names.count("SIGINT")


def pipe_instead_of(path):
    """Replace a file by a pipe into which nobody writes, so that reading it waits for ever."""
    path.unlink()
    os.mkfifo(path)


def wait_until_quiet(command, seconds=3.0):
    """Wait until a command has printed nothing for some seconds, because it waits for something itself."""
    printed, since = command.printed(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.1)
        if command.printed() != printed:
            printed, since = command.printed(), time.monotonic()


@pytest.fixture
def images(tmp_path):
    """Return the overrides of a data set of image files, and the file of each split that is read last."""
    for split, count in (("train", 40), ("val", 4)):
        for label in ("0", "1"):
            (tmp_path / f"data/{split}/{label}").mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (number, 40, 90)).save(tmp_path / f"data/{split}/{label}/{number:03}.png")

    def node(split):
        return {
            "_target_": "dmaelab.data.build_dataset",
            "name": "image_folder",
            "root": str(tmp_path / "data"),
            "split": split,
        }

    overrides = [
        f"data.train={node('train')}", f"data.test={node('val')}", "train.eval_images=None",
        "model.encoder.in_channels=3", "model.pixel_mean=[0.3, 0.3, 0.3]", "model.pixel_std=[0.3, 0.3, 0.3]",
    ]  # fmt: skip
    return overrides, tmp_path / "data/train/1/039.png", tmp_path / "data/val/1/003.png"


WAITS = [(["SIGTERM", "SIGUSR2"], 2), (["SIGINT"], 2), (["SIGHUP"], 0)]
WAITS += [pytest.param(names, 0, marks=pytest.mark.slow) for names in ALL]


@pytest.mark.parametrize(
    ("names", "workers"), WAITS, ids=lambda value: "-".join(value) if isinstance(value, list) else str(value)
)
def test_a_training_that_waits_for_data_is_ended(tmp_path, images, names, workers):
    """Workers that hang must not be left either."""
    overrides, file, _ = images
    pipe_instead_of(file)
    command = train(
        tmp_path, *overrides, "train.stop_grace=1", f"train.num_workers={workers}", "train.checkpoint_period=1"
    )
    command.until(lambda: "step 1/" in command.printed() or "starting at step 0" in command.printed())
    wait_until_quiet(command)
    command.send(*names)
    status, errors = command.end(seconds=60)
    reason = reason_of(names, status, errors)
    assert "no step ended within 1 s, perhaps because it waits for data or for another process; " in reason
    assert "no checkpoint is saved yet" in reason or "the checkpoint of step " in reason
    assert reason.endswith(CONTINUE)


def test_an_evaluation_that_waits_is_ended_too_and_the_last_checkpoint_is_named(tmp_path, images):
    overrides, _, file = images
    command = train(
        tmp_path, *overrides, "train.stop_grace=1", "train.eval_period=3", "train.checkpoint_period=2",
        before=lambda: pipe_instead_of(file),
    )  # fmt: skip
    command.until(lambda: "step 2/" in command.printed())
    wait_until_quiet(command)
    command.send("SIGTERM", "SIGHUP")
    assert "the checkpoint of step 2 is saved" in reason_of(["SIGTERM"], *command.end())


def test_data_that_hang_at_the_start_are_left_at_once(tmp_path, images):
    overrides, file, _ = images
    pipe_instead_of(file)
    overrides = [text.replace("'train'}", "'train', 'in_memory': True}") for text in overrides]
    command = train(tmp_path, *overrides)
    command.until(lambda: (tmp_path / "run/.lock").exists())
    time.sleep(1.0)
    command.send("SIGUSR2")
    status, errors = command.end(seconds=20)
    assert reason_of(["SIGUSR2"], status, errors) == f"stopped by a signal; no checkpoint is saved yet: {CONTINUE}"
    assert not (tmp_path / "run/config.yaml").exists()


def block(*_, **__):
    """Wait in C for ever, so that no handler of Python can run, as in a collective operation."""
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


@pytest.mark.parametrize("names", [["SIGTERM"], ["SIGUSR2", "SIGTERM"], ["SIGINT"]], ids="-".join)
def test_a_call_that_lets_no_handler_run_is_ended(tmp_path, monkeypatch, names):
    monkeypatch.setattr("dmaelab.engine.trainer.make_batch", block)
    command = train(tmp_path, "train.stop_grace=1")
    command.until(lambda: "starting at step 0" in command.printed())
    time.sleep(1.0)
    command.send(*names)
    status, errors = command.end(seconds=60)
    assert "no step ended within 1 s" in reason_of(names, status, errors)


def sleep(*_, **__):
    """Wait for ever, so that handlers of Python can run."""
    time.sleep(1000)


def traced():
    """Trace every line of every thread, as a debugger or coverage.py does."""
    for module in (threading, sys):
        module.settrace(lambda *_: None)


def test_a_second_ctrl_c_ends_at_once_but_not_within_a_second(tmp_path, monkeypatch):
    cases = {"sleep": (sleep, traced), "c": (block, lambda: None), "traced": (block, traced)}
    for name, (wait, before) in cases.items():
        monkeypatch.setattr("dmaelab.engine.trainer.make_batch", wait)
        command = train(tmp_path, name=name, before=before)
        command.until(lambda command=command: "starting at step 0" in command.printed())
        time.sleep(1.0)
        command.send("SIGINT", "SIGINT")  # as from a terminal and from a parent
        time.sleep(1.5)
        assert command.running()
        assert command.errors() == ["stopping after this step; Ctrl-C again ends at once"]
        command.send("SIGINT")
        status, errors = command.end(seconds=15)
        assert "no checkpoint is saved yet" in reason_of(["SIGINT"], status, errors)


def slow_save(seconds):
    """Make each checkpoint take some seconds."""

    def patch():
        save = torch.save
        torch.save = lambda *arguments: (time.sleep(seconds), save(*arguments))

    return patch


@pytest.mark.parametrize("names", [["SIGTERM"], ["SIGINT"]], ids="-".join)
def test_a_save_that_has_begun_is_not_cut_short(tmp_path, names):
    command = train(tmp_path, "train.stop_grace=0.5", "train.checkpoint_period=2", before=slow_save(2.0))
    command.until(lambda: list(tmp_path.glob("run/checkpoints/.step_0000002*")))
    command.send(*names)
    assert "stopped at step 2 of 24" in reason_of(names, *command.end())
    assert (tmp_path / "run/checkpoints/step_0000002.pth").exists()


def test_the_final_weights_are_written_although_a_signal_comes(tmp_path):
    command = train(tmp_path, "train.stop_grace=0.5", "train.max_iter=1", before=slow_save(1.5))
    command.until(lambda: list(tmp_path.glob("run/.model_final*")))
    command.send("SIGTERM")
    reason = reason_of(["SIGTERM"], *command.end())
    assert reason == f"{tmp_path / 'run'} is finished; a signal asked to stop, so nothing else is started"
    assert (tmp_path / "run/model_final.pth").exists()


def test_a_resume_says_that_there_is_no_checkpoint(tmp_path):
    command = train(tmp_path, "train.max_iter=1")
    assert command.end()[0] == 0
    assert (
        f"starting at step 0 of 1: there is no folder {tmp_path / 'run/checkpoints'} to resume from"
        in command.printed()
    )
    (tmp_path / "run/checkpoints/step_0000001.pth").rename(tmp_path / "run/checkpoints/early.pth")
    (tmp_path / "run/model_final.pth").unlink()
    command = train(tmp_path, "train.max_iter=1")
    assert command.end()[0] == 0
    assert "holds no step_*.pth to resume from, only early.pth" in command.printed()


def test_a_folder_that_is_removed_during_the_training_is_not_made_again(tmp_path):
    for replaced in (False, True):
        command = train(tmp_path, "train.max_iter=1000000", "train.checkpoint_period=0", name=f"run{replaced}")
        command.until(lambda command=command: "step 2/" in command.printed())
        os.rename(tmp_path / f"run{replaced}", tmp_path / f"gone{replaced}")
        if replaced:
            (tmp_path / "runTrue").mkdir()
        status, errors = command.end()
        assert (status, len(errors)) == (2, 1)
        assert errors[0].startswith(f"error: {tmp_path / f'run{replaced}'} was removed or replaced during the training")
        assert (tmp_path / f"run{replaced}").exists() == replaced
        assert not replaced or list((tmp_path / "runTrue").iterdir()) == []


def certify(folder, run, *overrides, before=lambda: None):
    return Command(folder, "certify.py", run, *QUICK, *overrides, before=before)


def rows(folder):
    with suppress(Exception):
        table = read_folders([folder])
        place = table.columns.index("time")
        return {index: cells[:place] + cells[place + 1 :] for index, cells in table.rows.items()}
    return {}


@pytest.mark.parametrize("count", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_a_certification_that_is_stopped_at_any_moment_continues(tmp_path, classifier_run, count):
    one, two = (shutil.copytree(classifier_run, tmp_path / name) for name in ("one", "two"))
    begin = time.monotonic()
    assert certify(tmp_path, one).end()[0] == 0
    for seconds, names in moments(count, time.monotonic() - begin):
        command = certify(tmp_path, two)
        command.sleep(seconds)
        command.send(*names)
        status, errors = command.end()
        if status != 0:
            assert reason_of(names, status, errors).endswith(
                ("; finished images are in the log: continue with the same command", ": give the same command again")
            )
    assert certify(tmp_path, two).end()[0] == 0
    assert rows(two / "certify/default") == rows(one / "certify/default")


@pytest.mark.parametrize("names", FEW, ids="-".join)
def test_a_certification_says_how_to_continue(tmp_path, classifier_run, names):
    run = shutil.copytree(classifier_run, tmp_path / "run")
    command = certify(tmp_path, run, *LONG)
    command.until(lambda: rows(run / "certify/default"))
    command.send(*names)
    begin = "interrupted" if names == ["SIGINT"] else "stopped by a signal"
    reason = reason_of(names, *command.end())
    assert reason == f"{begin}; finished images are in the log: continue with the same command"


def test_a_log_that_is_removed_ends_the_certification(tmp_path, classifier_run):
    run = shutil.copytree(classifier_run, tmp_path / "run")
    command = certify(tmp_path, run, *LONG)
    command.until(lambda: rows(run / "certify/default"))
    shutil.rmtree(run / "certify")
    status, errors = command.end()
    assert (status, len(errors)) == (2, 1)
    assert "shard-000-of-001.tsv was removed or replaced while this process was writing to it" in errors[0]
    assert not (run / "certify").exists()


STAGES = """
from dmaelab.config import open_config
_cfg = open_config("pipelines/digits")
pipeline, stages = _cfg.pipeline, [_cfg.stages[0], _cfg.stages[1]]
pipeline.pictures = []
for _stage in stages:
    _stage.overrides = {overrides}
"""


@pytest.mark.parametrize("names", [["SIGTERM"], ["SIGINT"], ["SIGUSR2", "SIGTERM"]], ids="-".join)
def test_a_pipeline_starts_no_further_stage(tmp_path, names):
    small = [text for text in SMALL if not text.startswith("model.")]
    (tmp_path / "stages.py").write_text(STAGES.format(overrides=[*small, "train.max_iter=1000000"]))
    command = Command(
        tmp_path, "pipeline.py", "--config-file", tmp_path / "stages.py", f"pipeline.out_dir={tmp_path / 'out'}"
    )
    command.until(lambda: "step 2/" in command.printed())
    command.send(*names)
    assert reason_of(names, *command.end()).startswith("stopped at step")
    assert not (tmp_path / "out/rs").exists()
