"""Where log records go: the console, a file of JSON lines, TensorBoard."""

import json
import logging
import time
from pathlib import Path
from typing import Any

from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_text

logger = logging.getLogger("dmaelab")


class Writer:
    """Gets ``open(step)`` before the first record, ``write(step, values)`` for each, and ``close()`` at the end."""

    def open(self, step: int) -> None:
        """Get ready for the records after ``step``, the number of steps that are finished."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take one record."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what is open; called also where :meth:`open` was not."""


class ConsoleWriter(Writer):
    """One line per record, with the time that is left at the pace since the start of this process.

    Args:
        max_iter: steps of the whole training.
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

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, step: int) -> None:
        """Remove the records after ``step``: an attempt that was killed wrote them, and this one writes them again."""
        if self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            write_text(self.path, "".join(kept))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append the record."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


class TensorBoardWriter(Writer):
    """Scalars for TensorBoard, from the extra ``tensorboard``.

    Args:
        folder: of the event files.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils import tensorboard
        except ImportError:
            raise UserError("train.tensorboard=True needs the extra: pip install 'dmaelab[tensorboard]'") from None
        self.folder, self._module = folder, tensorboard
        self._summary: Any = None

    def open(self, step: int) -> None:
        """Open an event file that replaces the records after ``step``."""
        self._summary = self._module.SummaryWriter(str(self.folder), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add each value as a scalar."""
        for name, value in values.items():
            self._summary.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        if self._summary is not None:
            self._summary.close()
            self._summary = None


def clock(seconds: float) -> str:
    """Return ``h:mm:ss`` or ``m:ss``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
