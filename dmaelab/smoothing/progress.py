"""The progress bar of a certification: ETA, certified accuracy with its interval, mean radius, samples per second."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tqdm import tqdm

from dmaelab.stats.bounds import clopper_pearson_lower, clopper_pearson_upper

logger = logging.getLogger("dmaelab")

_PERIOD = 60.0


class _Bar(tqdm):
    """A bar with a lock of this process alone: a forked process that is killed would keep tqdm's shared lock."""


_Bar.set_lock(threading.RLock())


class Progress:
    """Shows the progress of a certification: a bar on a terminal, otherwise one logged line per minute.

    The certified accuracy is that at radius 0. Its 95 % interval is exact (Clopper-Pearson) if the images so far are a
    random sample.

    Args:
        total: number of all images.
        done: rows of earlier runs.
        hide: show nothing.
    """

    def __init__(self, total: int, done: Sequence[Mapping[str, Any]], hide: bool = False) -> None:
        self._begin, self._samples = time.perf_counter(), 0
        self._count = self._correct = 0
        self._radii = 0.0
        for row in done:
            self._take(row)
        self._earlier = self._count
        # disable=None: no bar if there is no terminal
        self._bar = _Bar(
            total=total, initial=len(done), unit="image", disable=True if hide else None, dynamic_ncols=True
        )
        self._total, self._speaks, self._spoke = total, self._bar.disable and not hide, self._begin

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in the row of one more image."""
        self._take(row)
        self._samples += row["samples"] if "samples" in row else row.get("n", 0)
        self._bar.set_postfix_str(self.text(), refresh=False)
        self._bar.update()
        now = time.perf_counter()
        if self._speaks and now - self._spoke >= _PERIOD:
            self._spoke = now
            left = (now - self._begin) / (self._count - self._earlier) * (self._total - self._count)
            logger.info(
                "%d of %d images, about %s left: %s",
                self._count,
                self._total,
                timedelta(seconds=round(left)),
                self.text(),
            )

    def text(self) -> str:
        """Return the text beside the bar: certified accuracy, mean radius, samples per second."""
        low, high = (
            bound(self._correct, self._count, 0.025) for bound in (clopper_pearson_lower, clopper_pearson_upper)
        )
        accuracy, radius = self._correct / self._count, self._radii / self._count
        rate = self._samples / (time.perf_counter() - self._begin)
        return f"certified {accuracy:.1%} [{low:.1%}, {high:.1%}], mean radius {radius:.3f}, {rate:,.0f} samples/s"

    def _take(self, row: Mapping[str, Any]) -> None:
        self._count += 1
        self._correct += row["correct"]
        self._radii += row["correct"] * row["radius"]

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
