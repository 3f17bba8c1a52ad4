"""The numbers of one certification log: certified accuracy at radii, mean and median radius, abstentions, samples."""

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
    """The numbers of one log.

    Attributes:
        rows: number of images.
        radii: radii at which certified images were counted, in [0,1] pixel units.
        counts: number of images that are certified with the right class, at each radius.
        clean: number of images with the right answer, which is the count at radius 0.
        abstain: share of abstentions, from 0 to 1. It is None if it is unknown, because the log skipped images with a
            wrong class or did not sample for radius 0.
        acr: average certified radius; wrong and abstained images count as 0. None for a log of PREDICT, which has no
            radii.
        median: median certified radius, computed in the same way.
        samples: mean number of noisy samples per image; None if the log does not say it.
        sampled_for: the radii that a sequential certification sampled for. The counts at other radii, ``acr`` and
            ``median`` are then lower bounds of what all samples would give. None if every image got all samples.
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
        """Return whether the count at a radius is exact, and not only a lower bound of what all samples would give."""
        return self.sampled_for is None or radius in self.sampled_for

    def interval(self, count: int, method: str = "clopper-pearson") -> tuple[float, float]:
        """Return the 95 % confidence interval of ``count / rows``, if the images are a random sample."""
        low, high = proportion_interval(count, self.rows, method=method)
        return float(low), float(high)

    def bound(self, count: int, alpha: float, rho: float) -> float:
        """Return the lower bound of the robust accuracy over the population, see :func:`population_bound`."""
        return population_bound(count, self.rows, alpha, rho)


def certified_counts(log: Log, radii: ArrayLike) -> np.ndarray:
    """Return for each radius r how many images have the right class and a radius >= r, int64 [radii].

    All rows of the log count, and abstentions count as wrong, as in the analysis of Cohen et al. (2019).
    """
    certified = np.sort(log.radius[log.correct])
    return len(certified) - np.searchsorted(certified, np.asarray(radii), side="left")


def certified_radius(log: Log) -> np.ndarray:
    """Return the radius of each image, float64 [rows]; 0 if the answer is wrong or an abstention."""
    return np.where(log.correct, log.radius, 0.0)


def sampled_for(log: Log) -> tuple[float, ...] | None:
    """Return the radii that a sequential certification sampled for; None if every image got all samples.

    The result is empty if the radii of the log were converted to another norm or are two-sided.
    """
    radii = log.identity.get("certifier", {}).get("radii")
    if radii is None:
        return None
    return tuple(map(float, radii)) if log.norm == log.identity.get("norm") and log.radius_column != TWO_SIDED else ()


def check_radii(log: Log) -> None:
    """Raise ``UserError`` if the log is one of PREDICT, which has no radii."""
    if not log.claims_radii:
        raise UserError(f"{log.path} is a log of PREDICT: it has classes but no radii, so only a table can show it")


def check_grid(radii: Sequence[float]) -> Sequence[float]:
    """Return the radii; raise ``UserError`` if one is negative or not finite."""
    if not all(0 <= radius < float("inf") for radius in radii):
        raise UserError(f"radii are {list(radii)}: give finite numbers >= 0, in [0,1] pixel units")
    return radii


def summarize(log: Log, radii: Sequence[float] = RADII) -> Summary:
    """Return the numbers of a log.

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
    """Return the radii at which a table shows certified accuracy by default.

    They are :data:`RADII` if any log is in l2 or l1. Otherwise they are at most nine multiples of a round step, from 0
    to the largest certified radius. The step is at least 1 if any log is in l0.
    """
    if any(log.norm in ("l2", "l1") for log in logs):
        return RADII
    reach = max(float(certified_radius(log).max()) for log in logs)
    smallest = 0 if any(log.norm == "l0" for log in logs) else -9  # radii in l0 are whole numbers
    steps = (float(f"{factor}e{power}") for power in range(smallest, 9) for factor in (1, 2, 5))
    step = next(step for step in steps if reach <= 8 * step)
    return tuple(float(f"{multiple * step:.12g}") for multiple in range(int(reach / step) + 1))


def reached(radii: Sequence[float], logs: Sequence[Log]) -> list[float]:
    """Return the radii above 0 at which at least one log certifies an image."""
    counts = np.sum([certified_counts(log, radii) for log in logs], axis=0)
    return [radius for radius, count in zip(radii, counts, strict=True) if radius > 0 and count]


def radius_name(radius: float) -> str:
    """Return a radius as text, with two decimals, or with all of them if it has more."""
    return f"{radius:.2f}" if round(radius, 2) == radius else repr(radius)


def decimals(norm: str) -> int:
    """Return the number of decimals of a mean radius. It is larger in linf, whose radii are much smaller."""
    return 5 if norm == "linf" else 3


def _abstain(log: Log) -> float | None:
    """Return the share of abstentions; None if it is unknown.

    It is unknown if images were skipped because their selected class was wrong, since they might have been abstentions.
    It is also unknown if a sequential certification did not sample for radius 0.
    """
    sampled = sampled_for(log)
    unknown = skipped(log).any() or (log.prediction < -1).any() or (sampled is not None and 0.0 not in sampled)
    return None if unknown else float((log.prediction == -1).mean())


def _samples(log: Log) -> float | None:
    """Return the mean number of noisy samples per image; None if the log has no such column."""
    column = log.extra.get("samples")
    return None if column is None or not np.issubdtype(column.dtype, np.number) else float(column.mean())
