"""Checkpoint files of a run: written atomically, with tensors and plain values only."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dmaelab.utils.distributed import barrier, is_main
from dmaelab.utils.errors import MachineError, UserError
from dmaelab.utils.files import atomic_write
from dmaelab.utils.watchdog import WATCHDOG
from dmaelab.weights.files import WeightsError, read_file

_STEP = re.compile(r"step_(\d+)\.pth")


class CheckpointFolder:
    """The folder ``checkpoints/`` of a run: ``step_0000400.pth``, ``best.pth``, named milestones.

    Saving is collective: every process calls it, the first one writes, the others wait. A file is written completely
    or not at all: if the disk is full or the process is killed, the older files stay as they were. The watchdog lets a
    save finish that has begun.

    Args:
        path: the folder.

    Attributes:
        check: called by every process right before a file is written; it raises if nothing may be saved now, for
            example because weights are not finite.
        last: step of the newest step file that this object has found, loaded or written; None if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.check: Callable[[], None] = lambda: None
        self.last: int | None = None

    def file(self, name: str) -> Path:
        """Return the path ``<name>.pth`` in this folder; the file need not exist."""
        return self.path / f"{name}.pth"

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Write ``state`` to ``<name>.pth``. Every process must call it; the first one writes."""
        self.check()
        with WATCHDOG.pause():
            if is_main():
                save_file(self.file(name), state)
            barrier()

    def save_step(self, step: int, state: dict[str, Any], keep: int) -> None:
        """Write the file of ``step``, then delete all but the newest ``keep`` step files on disk."""
        self.save(f"step_{step:07d}", state)
        self.last = step
        if is_main():
            for path in self.steps()[:-keep]:
                path.unlink()

    def steps(self) -> list[Path]:
        """Return the step files, sorted by their step as a number, oldest first."""
        found = [
            (int(match[1]), path) for path in self.path.glob("step_*.pth") if (match := _STEP.fullmatch(path.name))
        ]
        self.last = max(found)[0] if found else None
        return [path for _, path in sorted(found)]

    def saved(self) -> str:
        """Return what a stopped run has saved; no file is read."""
        return "no checkpoint is saved yet" if self.last is None else f"the checkpoint of step {self.last} is saved"

    def why_none(self) -> str:
        """Return why there is nothing to resume from: there is no folder, it is empty, or it has other files."""
        if not self.path.is_dir():
            return f"there is no folder {self.path} to resume from"
        others = sorted(path.name for path in self.path.glob("*.pth"))
        if not others:
            return f"{self.path} holds no checkpoint to resume from"
        return f"{self.path} holds no step_*.pth to resume from, only {', '.join(others)}"

    def load_latest(self) -> dict[str, Any] | None:
        """Return the state of the newest step file, or ``None`` if there is none.

        Raises:
            WeightsError: the newest file cannot be read; the text names the file before it.
        """
        files = self.steps()
        if not files:
            return None
        try:
            return read_file(files[-1])
        except WeightsError as error:
            earlier = f"; the one before it is {files[-2].name}" if len(files) > 1 else ""
            raise WeightsError(f"{error}{earlier}") from None


def save_file(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to ``path``, atomically.

    Raises:
        MachineError: the disk is full, or the machine failed in another way.
        UserError: the file cannot be written for another reason, such as a permission.

    An older file at ``path`` and the files beside it are intact then.
    """
    try:
        atomic_write(path, lambda file: torch.save(state, file))
    except MachineError:
        raise
    except (OSError, RuntimeError) as error:  # torch's writer turns some write errors into RuntimeError
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{path} could not be written ({reason}); earlier checkpoints are intact: correct it, then --resume"
        ) from error
