"""Where log records go: the console, a file of JSON lines, TensorBoard."""

import json
import logging
import os
import time
from pathlib import Path

from dmaelab.utils.errors import UserError

logger = logging.getLogger("dmaelab")


class Writer:
    """Gets ``write(step, values)`` for each record, and ``close()`` at the end."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take one record."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what is open."""


class ConsoleWriter(Writer):
    """One line per record, with the time that is left at the pace since the start of this process."""

    def __init__(self, max_iter: int, first_step: int) -> None:
        self.max_iter, self.first_step, self.started = max_iter, first_step, time.perf_counter()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log ``step 50/2000  eta 1:23  loss 0.71 ...``."""
        seconds = (time.perf_counter() - self.started) / max(step - self.first_step, 1) * (self.max_iter - step)
        numbers = "  ".join(
            f"{name} {value:,.0f}" if value >= 1000 else f"{name} {value:.4g}" for name, value in values.items()
        )
        logger.info("step %d/%d  eta %s  %s", step, self.max_iter, clock(seconds), numbers)


class JSONWriter(Writer):
    """Appends one JSON object per record to ``metrics.jsonl``; the file is open only while a record is written.

    Records after ``first_step`` stem from an attempt that was killed before its checkpoint: they are
    removed, since this process will write them again.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        self.path = path
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= first_step]
            temporary = path.with_suffix(".tmp")
            temporary.write_text("".join(kept))
            os.replace(temporary, path)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append the record."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


class TensorBoardWriter(Writer):
    """Scalars for TensorBoard, from the extra ``tensorboard``."""

    def __init__(self, folder: Path, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("train.tensorboard=True needs the extra: pip install 'dmaelab[tensorboard]'") from None
        self.summary = SummaryWriter(str(folder), purge_step=first_step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add each value as a scalar."""
        for name, value in values.items():
            self.summary.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self.summary.close()


def clock(seconds: float) -> str:
    """Return ``h:mm:ss`` or ``m:ss``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
