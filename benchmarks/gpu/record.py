"""The record of one phase: named measurements with a deadline, written to a JSON file after each of them."""

import gc
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from dmaelab.utils.files import write_json

Figures = dict[str, Any]
"""Label -> number or text, or name of a row -> such a dict. Without a result the label is ``skipped`` or ``error``."""

HALVINGS = 3
TINY = 0.05
"""Factor of the least time of a measurement, if models and sizes are tiny."""


class TooLong(BaseException):
    """A measurement has reached its time limit. Not an ``Exception``, because the measured code might catch that."""


class Record:
    """The measurements of a phase, and its remaining time.

    Args:
        path: the JSON file, which already has the head of the phase; measurements are added to it.
        until: end of the phase, in the seconds of ``time.time()``.
        device: device to measure on.
        tiny: use tiny models and sizes, to try the code.
        data: archive of images for the phase ``evidence``, or None.
    """

    def __init__(
        self,
        path: Path,
        until: float,
        device: torch.device,
        tiny: bool = False,
        data: Path | None = None,
    ) -> None:
        self.path, self.until, self.device, self.tiny, self.data = path, until, device, tiny, data
        self.head: dict[str, Any] = json.loads(path.read_text())
        self.measurements: dict[str, Figures] = self.head["measurements"]
        self.started = time.time()

    @property
    def left(self) -> float:
        """Remaining seconds of the phase."""
        return self.until - time.time()

    def measure(
        self,
        name: str,
        work: Callable[..., Figures],
        size: int | None = None,
        needs: float = 1.0,
        limit: float = math.inf,
    ) -> Figures | None:
        """Take one measurement and write the file; return the results, or None if there are none.

        If the measurement fails for any reason, one line is written to the file, and the phase goes on.

        Args:
            name: name of the measurement, unique in its phase.
            work: returns the results; it is called with ``size`` if that is given.
            size: for example the batch size. If memory runs out, it is halved, at most three times, and noted.
            needs: seconds that the measurement takes at least; it is skipped if less time is left.
            limit: the measurement is stopped after this number of seconds.
        """
        full: list[int | str] = []
        figures: Figures | None = None
        while figures is None:
            if self.left < needs * (TINY if self.tiny else 1):
                figures = {"skipped": f"it needs {needs:.0f} s, and {max(self.left, 0):.0f} s are left"}
                break
            figures = _attempt(work if size is None else partial(work, size), min(limit, self.left))
            _free()
            if figures is None:  # out of memory
                full.append("its only size" if size is None else size)
                if size is None or size < 2 or len(full) > HALVINGS:
                    figures = {"error": "out of memory"}
                else:
                    size //= 2
        self.add(name, figures | ({"out of memory at": full} if full else {}))
        return None if {"skipped", "error"} & figures.keys() else figures

    def skip(self, name: str, reason: str) -> None:
        """Write to the file why a measurement is skipped."""
        self.add(name, {"skipped": reason})

    def add(self, name: str, figures: Figures) -> None:
        """Add results and write the file."""
        self.measurements[name] = _rounded(figures)
        line = f"{self.head['phase']}: {name}: {json.dumps(self.measurements[name], ensure_ascii=False)}"
        print(line, file=sys.stderr, flush=True)
        self.write("running")

    def write(self, status: str) -> None:
        """Write the file with this status of the phase."""
        write_json(self.path, self.head | {"status": status, "seconds": round(time.time() - self.started, 1)})


def _attempt(work: Callable[[], Figures], seconds: float) -> Figures | None:
    """Return the results, or one line about an error, or None if the memory of the device ran out."""
    try:
        with _time_limit(seconds):
            return work()
    except TooLong:
        return {"error": f"given up after {seconds:.3g} s"}
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError) or isinstance(error.__cause__, torch.OutOfMemoryError):
            return None
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _free() -> None:
    """Free memory before the next measurement. This fails, without harm, if an assertion has stopped the device."""
    gc.collect()
    if torch.cuda.is_initialized():
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value
