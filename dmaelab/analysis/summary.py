"""The figures of one certification log: certified accuracy at radii, mean and median radius, abstentions, samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dmaelab.analysis.views import TWO_SIDED, skipped
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import population_bound, proportion_interval
from dmaelab.stats.radii import RADII
from dmaelab.utils.errors import UserError


@dataclass(frozen=True)
class Summary:
    """The figures of one log.

    Attributes:
        rows: number of images.
        radii: where certified accuracy was counted, [0,1] pixel units.
        counts: images that are certified with the right class, at each radius.
        clean: images that are answered rightly at all: the count at radius 0.
        abstain: share of abstentions; None where it is unknown: for a log that skipped images by their label, or that
            did not sample for radius 0.
        acr: average certified radius; wrong and abstained images count 0. None for a log of PREDICT, which has no
            radii.
        median: median certified radius, likewise.
        samples: mean number of noisy samples per image; None where the log does not say.
        sampled_for: the radii that a sequential certification sampled for; at others, and for ``acr`` and ``median``,
            the figures are lower bounds of what all samples would give. None where every image got them all.
    """

    rows: int
    radii: tuple[float, ...]
    counts: tuple[int, ...]
    clean: int
    abstain: float | None
    acr: float | None
    median: float | None
    samples: float | None
    sampled_for: tuple[float, ...] | None = None

    def exact(self, radius: float) -> bool:
        """Whether the count at a radius is what all samples would give, and no lower bound of it."""
        return self.sampled_for is None or radius in self.sampled_for

    def interval(self, count: int, method: str = "clopper-pearson") -> tuple[float, float]:
        """Return the 95 % confidence interval of ``count / rows``, for images drawn at random."""
        low, high = proportion_interval(count, self.rows, method=method)
        return float(low), float(high)

    def bound(self, count: int, alpha: float, rho: float) -> float:
        """Return the lower bound of robust accuracy over the population, see :func:`population_bound`."""
        return population_bound(count, self.rows, alpha, rho)


def certified_counts(log: Log, radii: ArrayLike) -> np.ndarray:
    """Return how many images are predicted rightly with a radius >= r, int64, for every r.

    Over all rows; abstention counts as wrong (analysis of Cohen et al., 2019).
    """
    certified = np.sort(log.radius[log.correct])
    return len(certified) - np.searchsorted(certified, np.asarray(radii), side="left")


def certified_radius(log: Log) -> np.ndarray:
    """Return the radius of each image, 0 where it is wrong or abstained, float64 [rows]."""
    return np.where(log.correct, log.radius, 0.0)


def sampled_for(log: Log) -> tuple[float, ...] | None:
    """Return the radii that a sequential certification sampled for; None where every image got all samples.

    A log whose radii were converted, or are two-sided, was sampled for none of them.
    """
    radii = log.identity.get("certifier", {}).get("radii")
    if radii is None:
        return None
    return tuple(map(float, radii)) if log.norm == log.identity.get("norm") and log.radius_column != TWO_SIDED else ()


def check_radii(log: Log) -> None:
    """Refuse a log of PREDICT where radii are to be drawn or compared: ``UserError``."""
    if not log.claims_radii:
        raise UserError(f"{log.path} is a log of PREDICT: it has classes and no radii, only a table can show it")


def check_grid(radii: Sequence[float]) -> Sequence[float]:
    """Return the radii; ``UserError`` where one is negative or not finite."""
    if not all(0 <= radius < float("inf") for radius in radii):
        raise UserError(f"radii are {list(radii)}: give finite numbers >= 0, in [0,1] pixel units")
    return radii


def summarize(log: Log, radii: Sequence[float] = RADII) -> Summary:
    """Return the figures of a log.

    Raises:
        UserError: a radius is negative or not finite.
    """
    check_grid(radii)
    clean, *counts = certified_counts(log, [0.0, *radii]).tolist()
    certified = certified_radius(log)
    return Summary(
        rows=len(log),
        radii=tuple(radii),
        counts=tuple(counts),
        clean=clean,
        abstain=_abstain(log),
        acr=float(certified.mean()) if log.claims_radii else None,
        median=float(np.median(certified)) if log.claims_radii else None,
        samples=_samples(log),
        sampled_for=sampled_for(log),
    )


def default_radii(logs: Sequence[Log]) -> tuple[float, ...]:
    """Return where to state certified accuracy: :data:`RADII` in l2 and l1, round steps as far as the logs reach
    elsewhere.
    """
    if any(log.norm in ("l2", "l1") for log in logs):
        return RADII
    reach = max(float(certified_radius(log).max()) for log in logs)
    smallest = 0 if any(log.norm == "l0" for log in logs) else -9  # l0 counts values
    steps = (float(f"{factor}e{power}") for power in range(smallest, 9) for factor in (1, 2, 5))
    step = next(step for step in steps if reach <= 8 * step)
    return tuple(float(f"{multiple * step:.12g}") for multiple in range(int(reach / step) + 1))


def reached(radii: Sequence[float], logs: Sequence[Log]) -> list[float]:
    """Return those of the radii > 0 at which any log still certifies an image."""
    counts = np.sum([certified_counts(log, radii) for log in logs], axis=0)
    return [radius for radius, count in zip(radii, counts, strict=True) if radius > 0 and count]


def radius_name(radius: float) -> str:
    """Return a grid radius with two decimals, with more where it has more."""
    return f"{radius:.2f}" if round(radius, 2) == radius else repr(radius)


def decimals(norm: str) -> int:
    """Return how many decimals a mean radius needs: in linf it is about sqrt(pixels) times smaller than in l2."""
    return 5 if norm == "linf" else 3


def _abstain(log: Log) -> float | None:
    """Return the share of abstentions; None where it is unknown.

    It is unknown if images were skipped because their selected class was wrong: they might have abstained.
    """
    asked = sampled_for(log)
    unknown = skipped(log).any() or (log.prediction < -1).any() or (asked is not None and 0.0 not in asked)
    return None if unknown else float((log.prediction == -1).mean())


def _samples(log: Log) -> float | None:
    """Return the mean number of noisy samples per image; None where the log has no such column."""
    column = log.extra.get("samples")
    return None if column is None or not np.issubdtype(column.dtype, np.number) else float(column.mean())
