import pytest
import torch

from dmaelab.engine.checkpoint import CheckpointFolder
from dmaelab.engine.hooks import BestHook, CheckpointHook, EvalHook, checkpointing
from dmaelab.utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


def spoiled():
    raise UserError("spoiled")


def saved(folder):
    return sorted(path.stem for path in folder.path.glob("*"))


@pytest.mark.parametrize(
    ("period", "keep", "steps"), [(0, 2, [10]), (4, 9, [4, 8, 10]), (4, 2, [8, 10]), (5, 9, [5, 10])]
)
def test_every_period_and_the_last_step_are_saved_and_the_newest_kept(folder, step, period, keep, steps):
    hook = CheckpointHook(folder, period, keep, {})
    for number in range(1, 11):
        step(hook, number)
    assert saved(folder) == [f"step_{number:07d}" for number in steps]
    assert folder.load_latest()["step"] == 10


def test_milestones_are_kept_under_their_names(folder, step):
    hook = CheckpointHook(folder, 2, 1, {"early": 2, "odd": 5})
    for number in range(1, 8):
        step(hook, number)
    assert saved(folder) == ["early", "odd", "step_0000006"]
    assert torch.load(folder.file("odd"), weights_only=True)["step"] == 5


def test_a_milestone_is_written_before_the_file_of_its_step(folder, step, monkeypatch):
    order = []
    monkeypatch.setattr(folder, "save", lambda name, state: order.append(name))
    step(CheckpointHook(folder, 2, 1, {"early": 2}), 2)
    assert order == ["early", "step_0000002"]


@pytest.mark.parametrize("milestones", [{}, {"early": 2}])
def test_spoiled_weights_are_not_saved(folder, step, milestones):
    folder.check = spoiled
    with pytest.raises(UserError, match="spoiled"):
        step(CheckpointHook(folder, 2, 2, milestones), 2)
    assert saved(folder) == []


@pytest.mark.parametrize(("number", "processes", "files"), [(3, 1, ["step_0000003"]), (0, 1, []), (3, 2, [])])
def test_an_image_that_cannot_be_read_loses_no_steps(folder, trainer, monkeypatch, number, processes, files):
    monkeypatch.setattr(checkpointing, "world_size", lambda: processes)
    hook = CheckpointHook(folder, 0, 2, {})
    trainer.register_hooks([hook])
    trainer.step = number
    assert hook.on_fault() == bool(files)
    assert saved(folder) == files


@pytest.fixture
def measure(folder, trainer, step):
    """Return a function that gives the best hook one measurement after another, and says at which one it saved."""

    def run(hook, *values, first=1):
        kept = []
        for number, value in enumerate(values, start=first):
            hook.evaluation.latest = {} if value is None else {"other": -value, "metric": value}
            folder.file("best").unlink(missing_ok=True)
            step(hook, number)
            if folder.file("best").exists():
                kept.append(torch.load(folder.file("best"), weights_only=True)["step"])
        return kept

    return run


@pytest.mark.parametrize(("mode", "kept"), [("max", [2, 5]), ("min", [2, 4])])
def test_the_best_is_saved_when_the_metric_improves(folder, measure, mode, kept):
    hook = BestHook(folder, EvalHook(dict, 0), "metric", mode)
    assert measure(hook, None, 0.5, 0.5, 0.25, 0.75, None) == kept


def test_the_best_so_far_outlives_a_stop(folder, measure):
    first = BestHook(folder, EvalHook(dict, 0), "metric", "max")
    measure(first, 0.5)
    second = BestHook(folder, EvalHook(dict, 0), "metric", "max")
    second.trainer = first.trainer
    second.load_state_dict(first.state_dict())
    second.evaluation.latest = {"metric": 0.4}
    folder.file("best").unlink()
    second.after_step()
    assert not folder.file("best").exists()
    second.evaluation.latest = {"metric": 0.6}
    second.after_step()
    assert folder.file("best").exists()


def test_spoiled_weights_are_never_the_best(folder, measure):
    folder.check = spoiled
    with pytest.raises(UserError, match="spoiled"):
        measure(BestHook(folder, EvalHook(dict, 0), "metric", "max"), 0.5)
    assert not folder.file("best").exists()
