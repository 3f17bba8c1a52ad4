"""One entry of a table of the paper: certified accuracy of one model at one sigma and radius, over its seeds."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dmaelab.analysis.labels import SETTINGS, labels_of
from dmaelab.analysis.summary import certified_counts, radius_name, sampled_for
from dmaelab.analysis.views import TWO_SIDED, geometry_of
from dmaelab.records.readers import Log
from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.intervals import proportion_interval
from dmaelab.utils.differences import differences
from dmaelab.utils.errors import UserError

# Public logs print radii with three significant digits: up to half a unit of the third one too high.
_PRINTED = 1.005

_OF_THE_HEADER = ("certifier", "corruption", "geometry", "shape", "first_image")
# Options of a certifier that a figure does not suffer from: where it did not sample for a radius is known, see
# Cell.exact.
_OPTIONS = ("skip_wrong", "mode", "radii")


@dataclass(frozen=True)
class Measurement:
    """A log with what its labels say.

    Attributes:
        log: that certifies radii.
        labels: see :func:`dmaelab.analysis.labels.labels_of`, all its settings among them.
    """

    log: Log
    labels: dict[str, Any]

    @property
    def sigmas(self) -> tuple[Any, float]:
        """The sigma of the training and that of the evaluation; the second stands in for a first that is not known."""
        return self.labels.get("sigma", self.labels["eval_sigma"]), self.labels["eval_sigma"]

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What measurements must share to be compared, as far as it is known of both.

        That is n, n0, alpha, norm, and the images with their true classes; of a header also the certifier, the noise,
        its geometry, the size at which it is added, and the first image.
        """
        order = np.argsort(self.log.index)
        digest = hashlib.blake2b(
            np.stack([self.log.index, self.log.label])[:, order].tobytes(), digest_size=4
        ).hexdigest()
        images = f"{len(self.log)} (hash {digest})"
        norm = self.log.norm if self.log.radius_column != TWO_SIDED else f"two-sided {self.log.norm}"
        known = {key: self.log.identity[key] for key in _OF_THE_HEADER if key in self.log.identity}
        if isinstance(known.get("certifier"), Mapping):
            aside = (
                _OPTIONS if self.log.radius_column == TWO_SIDED else (*_OPTIONS, "weight")
            )  # of the two-sided radius
            known["certifier"] = {key: value for key, value in known["certifier"].items() if key not in aside}
        return {**{key: self.labels[key] for key in ("n", "n0", "alpha")}, "norm": norm, "images": images, **known}

    @cached_property
    def cap(self) -> float:
        """The largest radius that n samples can certify: that of ``alpha^(1/n)``, sigma Phi^-1 of it for Gaussian
        noise.
        """
        p_lower = clopper_pearson_lower(self.labels["n"], self.labels["n"], self.labels["alpha"])
        tau = self.log.identity.get("tau", 0.0)
        return geometry_of(self.log).radius_as_sampled(self.labels["eval_sigma"], tau, p_lower)

    @cached_property
    def largest(self) -> float:
        """The largest radius that the log claims, 0 where it is within what :attr:`cap` and rounding explain."""
        largest = float(self.log.radius.max())
        return largest if largest > self.cap * _PRINTED else 0.0


@dataclass(frozen=True)
class Cell:
    """An entry.

    Attributes:
        share: certified accuracy in [0, 1], the mean over seeds.
        spread: standard deviation over seeds (ddof 1); None for one seed.
        zero: no image can be certified at this radius, whatever the model.
        exact: False where a sequential certification did not sample for this radius: the share is a lower bound.
        measured: what it was computed from, one measurement a seed; none for printed figures.
        counts: images certified, of each measurement.
        interval: 95 % interval of the share, where it was asked for and there is one seed.
    """

    share: float
    spread: float | None = None
    zero: bool = False
    exact: bool = True
    measured: tuple[Measurement, ...] = ()
    counts: tuple[int, ...] = ()
    interval: tuple[float, float] | None = None


def measure(log: Log, needs: Sequence[str]) -> Measurement:
    """Return a log with its labels.

    Raises:
        UserError: a log of PREDICT, or a label or setting of ``needs`` is missing.
    """
    if not log.claims_radii:
        raise UserError(
            f"{log.path} has no radii, it answers with classes alone: the paper's tables need certified radii"
        )
    labels = labels_of(log)
    if missing := [key for key in (*needs, *SETTINGS) if key not in labels]:
        example = " ".join(f"{key}=..." for key in missing)
        raise UserError(f"{log.path} does not say its {', '.join(missing)}: add --label {log.path} {example}")
    return Measurement(log, labels)


def check_alike(first: Measurement, second: Measurement, why: str) -> None:
    """Refuse two measurements that were not made alike: ``UserError`` names in what they differ, and why it matters."""
    common = first.setting.keys() & second.setting.keys()
    a, b = ({key: one.setting[key] for key in common} for one in (first, second))
    if different := differences(a, b):
        raise UserError(
            f"{why}, but {'; '.join(one.between(f'in {first.log.path}', f'in {second.log.path}') for one in different)}"
        )


def make_cell(seeds: Sequence[Measurement], radius: float, interval: str | None = None) -> Cell:
    """Return the entry of one model at one sigma.

    Args:
        seeds: measurements that differ in their seed alone.
        radius: in the norm of their logs, [0,1] pixel units.
        interval: method of the interval, None for none.

    Raises:
        UserError: a log certifies images at a radius that its n and alpha do not reach.
    """
    counts = tuple(int(certified_counts(one.log, radius)) for one in seeds)
    shares = [count / len(one.log) for count, one in zip(counts, seeds, strict=True)]
    zero = radius > seeds[0].cap
    for one, count in zip(seeds, counts, strict=True):
        if zero and count:
            raise UserError(
                f"{one.log.path} certifies {count} images at r = {radius_name(radius)}, but n = {one.labels['n']},"
                f" alpha = {one.labels['alpha']:g} and sigma = {one.labels['eval_sigma']:g} reach {one.cap:.4g}:"
                " correct its labels"
            )
    ends = (
        proportion_interval(counts[0], len(seeds[0].log), method=interval)
        if interval and len(seeds) == 1 and not zero
        else None
    )
    return Cell(
        share=math.fsum(shares) / len(shares),
        spread=float(np.std(shares, ddof=1)) if len(shares) > 1 else None,
        zero=zero,
        exact=zero or all(asked is None or radius in asked for asked in (sampled_for(one.log) for one in seeds)),
        measured=tuple(seeds),
        counts=counts,
        interval=None if ends is None else (float(ends[0]), float(ends[1])),
    )


def gap(cell: Cell | None, base: Cell | None) -> float | None:
    """Return the difference of two entries; None where one is missing or a bound, or no radius is that large."""
    if cell is None or base is None or cell.zero or not (cell.exact and base.exact):
        return None
    return cell.share - base.share
