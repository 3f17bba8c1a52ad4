import pytest
import torch

from dmaelab.engine import checkpoint
from dmaelab.engine.checkpoint import CheckpointFolder, save_file
from dmaelab.utils.errors import MachineError, UserError
from dmaelab.weights import WeightsError


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


def names(folder):
    return sorted(path.name for path in folder.path.iterdir())


def test_the_newest_is_that_of_the_largest_number(folder):
    for step in (9_999_999, 10_000_000, 400):  # the text of the second sorts before that of the first
        folder.save_step(step, {"step": step}, keep=3)
    assert [path.stem for path in folder.steps()] == ["step_0000400", "step_9999999", "step_10000000"]
    assert folder.load_latest() == {"step": 10_000_000}


def test_only_the_newest_step_files_are_kept_and_all_others(folder):
    folder.save("best", {"step": 1})
    folder.save("early", {"step": 1})
    for other in ("step_last.pth", "step_0000001.pth.old", "step_1.txt"):
        (folder.path / other).write_text("not ours")
    for step in (2, 4, 6):
        folder.save_step(step, {"step": step}, keep=2)
    assert names(folder) == [
        "best.pth", "early.pth", "step_0000001.pth.old", "step_0000004.pth", "step_0000006.pth", "step_1.txt",
        "step_last.pth",
    ]  # fmt: skip
    assert folder.load_latest() == {"step": 6}


def test_a_folder_without_step_files_has_no_latest(folder):
    assert folder.load_latest() is None
    folder.save("best", {"step": 1})
    assert folder.load_latest() is None


def test_tensors_and_plain_values_come_back(folder):
    state = {"model": {"weight": torch.arange(3.0)}, "hooks": {"best": None}, "step": 7}
    folder.save("early", state)
    back = torch.load(folder.file("early"), weights_only=True)
    assert torch.equal(back["model"].pop("weight"), state["model"].pop("weight"))
    assert back == state


def test_only_the_first_process_writes_and_deletes(folder, monkeypatch):
    folder.save_step(1, {}, keep=1)
    monkeypatch.setattr(checkpoint, "is_main", lambda: False)
    folder.save_step(2, {}, keep=1)
    folder.save("best", {})
    assert names(folder) == ["step_0000001.pth"]


def test_a_truncated_checkpoint_is_named_with_the_one_before(folder):
    for step in (9, 10):
        folder.save_step(step, {"model": {"weight": torch.ones(1000)}}, keep=2)
    newest = folder.path / "step_0000010.pth"
    newest.write_bytes(newest.read_bytes()[:500])
    with pytest.raises(WeightsError, match=r"step_0000010.pth: truncated.*the one before it is step_0000009.pth"):
        folder.load_latest()
    folder.file("step_0000009").unlink()
    with pytest.raises(WeightsError) as caught:
        folder.load_latest()
    assert "the one before" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(28, "No space left on device"), MachineError, r"best\.pth: the disk is full"),
        (OSError(13, "Permission denied"), UserError, r"best\.pth could not be written"),
        (RuntimeError("write failed\nat line 3"), UserError, r"best\.pth could not be written"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
         MachineError, "the machine is out of memory"),
    ],
)  # fmt: skip
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(folder, monkeypatch, error, kind, text):
    folder.save("best", {"step": 1})

    def half(state, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(checkpoint.torch, "save", half)
    with pytest.raises(kind, match=text) as caught:
        save_file(folder.file("best"), {"step": 2})
    assert "\n" not in str(caught.value)
    assert names(folder) == ["best.pth"]
    assert torch.load(folder.file("best"), weights_only=True) == {"step": 1}
