"""The figures of one certification log: certified accuracy at radii, average certified radius, abstentions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dmaelab.records.readers import Log
from dmaelab.records.row import WRONG_CLASS
from dmaelab.stats.intervals import proportion_interval
from dmaelab.utils.errors import UserError

# Multiples of the step rounded, never a running sum: 1.9100000000000001 > 1.91 would lose an image at the cap.
RADII = tuple(round(0.25 * multiple, 2) for multiple in range(13))
"""0, 0.25, ..., 3: where the literature states certified accuracy."""


@dataclass(frozen=True)
class Summary:
    """The figures of one log.

    Attributes:
        rows: number of images.
        radii: where certified accuracy was counted, [0,1] pixel units.
        counts: images that are certified with the right class, at each radius.
        clean: images that are answered rightly at all: the count at radius 0.
        abstain: share of abstentions; None for a log that skipped images by their label, where it is unknown.
        acr: average certified radius; wrong and abstained images count 0.
    """

    rows: int
    radii: tuple[float, ...]
    counts: tuple[int, ...]
    clean: int
    abstain: float | None
    acr: float

    def interval(self, count: int) -> tuple[float, float]:
        """Return the exact 95 % confidence interval of ``count / rows``, for images drawn at random."""
        low, high = proportion_interval(count, self.rows)
        return float(low), float(high)


def certified_counts(log: Log, radii: ArrayLike) -> np.ndarray:
    """Return how many images are predicted rightly with a radius >= r, int64, for every r.

    Over all rows; abstention counts as wrong (analysis of Cohen et al., 2019).
    """
    certified = np.sort(log.radius[log.correct])
    return len(certified) - np.searchsorted(certified, np.asarray(radii), side="left")


def summarize(log: Log, radii: Sequence[float] = RADII) -> Summary:
    """Return the figures of a log.

    Raises:
        UserError: a radius is negative or not finite.
    """
    if not all(0 <= radius < float("inf") for radius in radii):
        raise UserError(f"radii are {list(radii)}: give finite numbers >= 0, in [0,1] pixel units")
    clean, *counts = certified_counts(log, [0.0, *radii]).tolist()
    acr = float(np.where(log.correct, log.radius, 0).mean())
    return Summary(len(log), tuple(radii), tuple(counts), clean, _abstain(log), acr)


def _abstain(log: Log) -> float | None:
    """An image that was skipped because its class is wrong might have abstained: then nobody knows the share."""
    skipped = "stop_reason" in log.extra and WRONG_CLASS in log.extra["stop_reason"].tolist()
    return None if skipped or (log.prediction < -1).any() else float((log.prediction == -1).mean())
