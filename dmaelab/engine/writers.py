"""Writers of log records: to the console, to a file of JSON lines, and to TensorBoard."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_text
from dmaelab.utils.machine import machine_faults

logger = logging.getLogger("dmaelab")


class Writer:
    """Base class: ``open(step)`` is called once, then ``write(step, values)`` for each record, then ``close()``."""

    def open(self, step: int) -> None:
        """Prepare for the first record. ``step`` is the number of finished steps, above 0 in a resumed run."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write one record: name -> value, after ``step`` steps."""
        raise NotImplementedError(f"{type(self).__name__} must define write(step, values)")

    def close(self) -> None:
        """Close files. It is called even if :meth:`open` was never called."""


class ConsoleWriter(Writer):
    """Logs one line per record, with an estimate of the remaining time.

    The estimate assumes the mean speed since the start of this process.

    Args:
        max_iter: number of steps of the whole training.
    """

    def __init__(self, max_iter: int) -> None:
        self.max_iter = max_iter

    def open(self, step: int) -> None:
        """Start the clock."""
        self.first_step, self.started = step, time.perf_counter()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log ``step 50/2000  eta 1:23  loss 0.71 ...``."""
        seconds = (time.perf_counter() - self.started) / max(step - self.first_step, 1) * (self.max_iter - step)
        numbers = "  ".join(
            f"{name} {value:,.0f}" if value >= 1000 else f"{name} {value:.4g}" for name, value in values.items()
        )
        logger.info("step %d/%d  eta %s  %s", step, self.max_iter, clock(seconds), numbers)


class JSONWriter(Writer):
    """Appends one JSON object per record to a file, which is open only while a record is written.

    The folder of the file stays open. So no record goes to another folder that has taken the place of this one.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder: int | None = None

    def open(self, step: int) -> None:
        """Remove the records after ``step``.

        They are left over from a run that was killed after its last checkpoint, and will be written again.
        """
        if self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            write_text(self.path, "".join(kept))
        with machine_faults(path=self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = os.open(self.path.parent, os.O_RDONLY)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append the record."""
        with machine_faults(path=self.path), open(self.path.name, "a", opener=self._open_inside) as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def _open_inside(self, name: str, flags: int) -> int:
        assert self._folder is not None, "open(step) comes before write"
        return os.open(name, flags, 0o666, dir_fd=self._folder)

    def close(self) -> None:
        """Close the folder."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


class TensorBoardWriter(Writer):
    """Writes scalars for TensorBoard; needs the extra ``tensorboard``.

    Args:
        folder: folder of the event files.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils import tensorboard
        except ImportError:
            raise UserError("train.tensorboard=True needs tensorboard: pip install tensorboard") from None
        self.folder, self._module = folder, tensorboard
        self._summary: Any = None

    def open(self, step: int) -> None:
        """Open an event file that replaces the records after ``step``."""
        self._summary = self._module.SummaryWriter(str(self.folder), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add each value as a scalar."""
        with machine_faults(path=self.folder):  # its thread reports what happened to earlier records
            for name, value in values.items():
                self._summary.add_scalar(name, value, step)
            self._summary.flush()  # else a killed run would lose the last two minutes

    def close(self) -> None:
        """Flush and close the event file."""
        if self._summary is not None:
            with machine_faults(path=self.folder):
                self._summary.close()
            self._summary = None


def clock(seconds: float) -> str:
    """Return a number of seconds as ``h:mm:ss``, or as ``m:ss`` below one hour."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
