"""Paths of a run directory, its lock, its weights, and what is written at a start."""

import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import WEIGHTS_HASH, RunDirectory, is_selected, weights_of
from dmaelab.utils.differences import Difference
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import file_hash

CPU = torch.device("cpu")
HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _known_surroundings(monkeypatch):
    """What a start records of its surroundings takes a call of git."""
    monkeypatch.setattr("dmaelab.engine.run_dir.environment", lambda: {"host": "here"})


@pytest.fixture
def cfg(tmp_path):
    """A training config in all that a run directory asks of one."""
    return OmegaConf.create(
        {
            "model": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2, "attention": "auto"},
            "train": {"out_dir": str(tmp_path / "run"), "batch_size": 4, "max_iter": 2, "device": "cpu"},
            "labels": {"method": "RS"},
            "debug": ["train.max_iter=1"],
        }
    )


@pytest.fixture
def run(cfg, tmp_path):
    """A directory in which a training has begun."""
    run = RunDirectory(tmp_path / "run")
    run.freeze(resolve(cfg, CPU), resume=False, steps=2, from_step=0)
    return run


def test_nothing_is_made_before_it_is_written(tmp_path):
    run = RunDirectory(tmp_path / "run")
    assert (run.begun, run.finished, run.starts(), run.initial_weights()) == (False, False, [], None)
    with pytest.raises(UserError, match=r"run is not a run directory: it has no config\.yaml"):
        assert run.config
    assert list(tmp_path.iterdir()) == []


def test_every_path_lies_in_it(tmp_path):
    run = RunDirectory(str(tmp_path))
    assert str(run) == str(tmp_path)
    assert run.log_folder("mine") == tmp_path / "certify/mine"
    assert run.checkpoints.file("early") == tmp_path / "checkpoints/early.pth"
    assert (run.metrics, run.tensorboard) == (tmp_path / "metrics.jsonl", tmp_path / "tb")


def test_a_training_begins_with_its_config_and_ends_with_its_weights(run):
    assert (run.begun, run.finished) == (True, False)
    with pytest.raises(UserError, match=r"has no model_final\.pth: the training has not finished"):
        run.weights()
    run.save_final({"model": {"weight": torch.ones(2)}})
    assert run.finished
    assert run.weights() == run.weights("final") == run.path / "model_final.pth"
    assert weights_of(run.path) == run.weights()


def test_weights_are_a_checkpoint_of_the_run_or_a_path(run, tmp_path, monkeypatch):
    run.checkpoints.save("best", {})
    run.checkpoints.save_step(4, {}, keep=1)
    assert run.weights("best") == run.path / "checkpoints/best.pth"
    assert run.weights("step_0000004") == run.path / "checkpoints/step_0000004.pth"
    monkeypatch.chdir(tmp_path)
    assert run.weights("other.pth").absolute() == tmp_path / "other.pth"
    (tmp_path / "best").touch()  # the checkpoint goes first
    assert run.weights("best") == run.path / "checkpoints/best.pth"
    assert weights_of("other.pth").absolute() == tmp_path / "other.pth"


@pytest.mark.parametrize(
    ("weights", "selected"),
    [("best", True), ("run/checkpoints/best.pth", True), ("final", False), ("best_of_all.pth", False)],
)
def test_which_weights_a_metric_has_selected(weights, selected):
    assert is_selected(weights) is selected


def test_the_frozen_config_is_what_was_run_without_its_trial(run, cfg):
    cfg.pop("debug")
    assert run.config == resolve(cfg, CPU)


def test_labels(run, cfg):
    assert run.labels == {"method": "RS"}
    cfg.pop("labels")
    run.freeze(cfg, resume=True, steps=2, from_step=0)
    assert run.labels == {}  # the config that was read before is not kept


def test_each_start_is_recorded_and_the_last_weights_count(run, cfg, tmp_path):
    assert [start["resume"] for start in run.starts()] == [False]
    assert run.initial_weights() is None
    (tmp_path / "one.pth").write_bytes(b"one")
    (tmp_path / "two.pth").write_bytes(b"two")
    run.freeze(cfg, resume=True, steps=2, from_step=0, started_from=tmp_path / "one.pth")
    run.freeze(cfg, resume=True, steps=2, from_step=0, started_from=tmp_path / "two.pth")
    starts = run.starts()
    assert [start["resume"] for start in starts] == [False, True, True]
    assert starts[1]["weights"] == str(tmp_path / "one.pth")
    assert [start["host"] for start in starts] == ["here"] * 3
    assert {(start["steps"], start["from_step"], start["processes"]) for start in starts} == {(2, 0, 1)}
    assert run.initial_weights() == file_hash(tmp_path / "two.pth")  # such a start was at step 0


def test_one_process_holds_a_directory(run):
    with subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER, run.path / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(UserError, match="run: another process is training in it: wait for it"), run.hold():
            pass
        other.stdin.close()
    with run.hold():
        pass


def test_a_file_system_without_locks_is_warned_of(run, monkeypatch, log_messages):
    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("dmaelab.engine.run_dir.fcntl.lockf", no_locks)
    held = False
    with run.hold():
        held = True
    assert held
    assert "cannot be locked (No locks available)" in log_messages[0]


def test_a_directory_with_a_run_is_for_a_resume(run, cfg, log_messages):
    with pytest.raises(UserError, match="already holds a run"), run.occupied(cfg, resume=False):
        pass
    cfg.train.update(log_period=3, num_workers=2, checkpoint_period=1, tensorboard=True)  # change no weight
    cfg.labels.method = "CR"
    with run.occupied(cfg, resume=True):
        pass
    with run.occupied(cfg, resume=True, allow_changes=True):
        pass
    assert log_messages == []


CHANGES = [
    ({"seed": 5}, "(train.seed is 0 there, 5 now): "),
    ({"seed": 5, "init_from": "x"}, "(train.init_from is None there, 'x' now; train.seed is 0 there, 5 now): "),
    (
        {"seed": 5, "batch_size": 8, "max_iter": 3, "accum_steps": 2, "clip_grad": 1.0},
        "(train.accum_steps is 1 there, 2 now; train.batch_size is 4 there, 8 now; train.clip_grad is None there, 1.0"
        " now; and 2 more): ",
    ),
]


@pytest.mark.parametrize(("settings", "words"), CHANGES)
def test_a_resume_with_other_settings_is_refused_and_changes_nothing(run, cfg, log_messages, settings, words):
    with run.hold():
        (run.path / ".config.yaml.abcdefgh.tmp").write_text("half")
    before = {path: path.read_bytes() for path in run.path.rglob("*")}
    cfg.train.update(settings)
    with pytest.raises(UserError) as caught, run.occupied(cfg, resume=True):
        pass
    end = "to go on with the new ones, add --allow-changes; or choose another train.out_dir"
    assert str(caught.value) == f"{run} was begun with other settings {words}{end}"
    assert {path: path.read_bytes() for path in run.path.rglob("*")} == before
    assert log_messages == []
    with run.occupied(cfg, resume=True, allow_changes=True):
        assert len(log_messages) == len(settings)
    assert all(f"train.{name} is" in " ".join(log_messages) for name in settings)


def test_a_resume_is_of_the_weights_that_the_run_began_with(run, cfg, tmp_path, log_messages):
    """Their content counts, not their path. Files that are gone are not compared."""
    one, two, other = (tmp_path / name for name in ("one.pth", "two.pth", "other.pth"))
    for file, content in ((one, b"one"), (two, b"one"), (other, b"other")):
        file.write_bytes(content)
    cfg.train.init_from = str(one)
    run.freeze(resolve(cfg, CPU), resume=True, steps=2, from_step=0, started_from=one)
    for source in (one, two):
        cfg.train.init_from = str(source)
        assert run.changes(cfg) == []
    cfg.train.init_from = str(other)
    (change,) = run.changes(cfg)
    assert change == Difference(WEIGHTS_HASH, file_hash(one), file_hash(other))
    message = f"{WEIGHTS_HASH} is '{file_hash(one)}' there, '{file_hash(other)}' now"
    with pytest.raises(UserError, match=message), run.occupied(cfg, resume=True):
        pass
    with run.occupied(cfg, resume=True, allow_changes=True):
        assert [WEIGHTS_HASH in line for line in log_messages] == [True]
    cfg.train.init_from = str(tmp_path / "nowhere.pth")
    assert [change.key for change in run.changes(cfg)] == ["train.init_from"]
    cfg.train.init_from = None
    assert [change.key for change in run.changes(cfg)] == ["train.init_from"]
    cfg.train.init_from = str(one)
    one.unlink()
    assert run.changes(cfg) == []


def test_the_run_of_the_initial_weights_may_be_training_anew(run, cfg, tmp_path):
    earlier = RunDirectory(tmp_path / "earlier")
    earlier.freeze(resolve(cfg, CPU), resume=False, steps=2, from_step=0)
    earlier.save_final({"model": {}})
    cfg.train.init_from = str(earlier)
    run.freeze(resolve(cfg, CPU), resume=True, steps=2, from_step=0, started_from=earlier.weights())
    assert run.changes(cfg) == []
    earlier.save_final({"model": {"weight": torch.ones(2)}})
    assert [change.key for change in run.changes(cfg)] == [WEIGHTS_HASH]
    earlier.weights().unlink()
    assert run.changes(cfg) == []


def test_an_occupied_directory_is_made_and_still_without_a_run(cfg, tmp_path):
    run = RunDirectory(tmp_path / "a/b")
    with run.occupied(cfg, resume=True):
        assert run.path.is_dir()
        assert not run.begun
    with run.occupied(cfg, resume=False):  # a start that failed leaves it free
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="file/run cannot be created"),
        RunDirectory(tmp_path / "file/run").occupied(cfg, resume=False),
    ):
        pass


def test_a_file_that_is_of_no_run_is_one_line(run, cfg, tmp_path):
    cfg.model.pop("attention")
    run.freeze(cfg, resume=True, steps=2, from_step=0)
    torch.save({"weight": torch.ones(2)}, tmp_path / "bare.pth")
    with pytest.raises(UserError, match=r"bare\.pth: not a file of a run, it has no entry 'model'"):
        run.model(str(tmp_path / "bare.pth"), CPU)


def test_the_next_start_removes_what_a_killed_save_has_left(cfg, run):
    """Only under the lock, and only files of the run itself."""
    run.checkpoints.save("best", {})
    mine = [".config.yaml.abcdefgh.tmp", ".run.json.ab_defg1.tmp", ".model_final.pth.abcdefgh.tmp"]
    mine += ["checkpoints/.step_0000004.pth.abcdefgh.tmp", "checkpoints/.early.pth.abcdefgh.tmp"]
    others = [".table.md.abcdefgh.tmp", "checkpoints/.notes.txt.abcdefgh.tmp", "checkpoints/best.pth"]
    for name in (*mine, *others[:2]):
        (run.path / name).write_text("half")
    holder = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER, run.path / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        holder.stdout.readline()
        with pytest.raises(UserError, match="another process is training in it"), run.occupied(cfg, resume=True):
            pass
        assert all((run.path / name).exists() for name in (*mine, *others))
    with run.occupied(cfg, resume=True):
        assert not any((run.path / name).exists() for name in mine)
    assert all((run.path / name).exists() for name in others)
