"""CERTIFY that looks while it samples and stops when nothing that is asked for can still change."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmaelab.certifiers.build import CERTIFIERS, Case, Certificate, Votes
from dmaelab.certifiers.two_stage import CERTIFIED, TwoStage
from dmaelab.stats.evalues import log_evalue
from dmaelab.stats.looks import least_count, look_totals
from dmaelab.stats.radii import RADII
from dmaelab.utils.errors import UserError

MODES = ("target", "grid", "radius")


@dataclass(frozen=True)
class Standing:
    """What the looks so far have shown about ascending probabilities ``needed``.

    Attributes:
        reached: how many of them, the lowest ones, p is shown to exceed.
        open: how many, again from the lowest, are not given up as too high.
        look: ``(count, total)`` of the look that last showed something, where p_lower may come from.
    """

    reached: int
    open: int
    look: tuple[int, int]

    @property
    def decided(self) -> bool:
        """Whether each of them is reached or given up."""
        return self.reached >= self.open


@CERTIFIERS.register("sequential")
class Sequential(TwoStage):
    """Adaptive CERTIFY: as sound as a fixed n at every look, at a fraction of the samples.

    With probability 1 - alpha the radius is right, or it abstains, whatever made it stop: a share of alpha
    pays for an anytime-valid sequence (:mod:`dmaelab.stats.evalues`), the rest for one Clopper-Pearson
    bound that only all n samples open (:class:`~dmaelab.stats.looks.Looks`). A radius that the samples so
    far make hopeless is given up, which can cost power, never soundness.

    Modes, by what they sample for:

    * ``"grid"``: until each of ``radii`` is certified or given up. Certified accuracy at these radii is that
      of a fixed n, to within .2 points in simulation; between them it may be less.
    * ``"target"``: the same for one radius.
    * ``"radius"``: all n samples, for the largest radius; stops only where no one-sided radius can be certified.

    What stops it is the one-sided radius. The two-sided one beside it is as sound, smaller than that of a fixed n,
    and nan in rows that were given up without one: take ``"cohen"`` for two-sided tables.

    Args:
        n0, n, alpha, weight, skip_wrong: as for :class:`~dmaelab.certifiers.two_stage.TwoStage`; n is the most
            that any image gets.
        mode: ``"grid"``, ``"target"`` or ``"radius"``.
        radii: one or more, in [0,1] pixel units and the norm of the noise; None means 0, 0.25, ..., 3 for
            ``"grid"``. Those of a grid that n samples cannot certify are left out.
        share: part of alpha for the early looks, in (0, 1).
        futility: probability of giving up a radius that is within reach; None gives up only what no further
            votes could certify, at several times the samples.
        growth: each look has so many times the samples of the one before.

    Raises:
        UserError: an argument out of its range; in ``check``, radii that n samples cannot certify.
    """

    def __init__(
        self,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        mode: str = "grid",
        radii: float | Sequence[float] | None = None,
        weight: float = 0.9,
        share: float = 0.1,
        futility: float | None = 1e-3,
        growth: float = 1.25,
        skip_wrong: bool = False,
    ) -> None:
        if not 0 < share < 1:
            raise UserError(
                f"certifier.share is {share}: give the part of alpha for the early looks, in (0, 1), such as 0.1"
            )
        if futility is not None and not 0 < futility < 1:
            raise UserError(f"certifier.futility is {futility}: give a probability in (0, 1), such as 0.001, or None")
        if not growth > 1:
            raise UserError(
                f"certifier.growth is {growth}: the samples of the next look as a multiple, above 1, such as 1.25"
            )
        self.share, self.growth = float(share), float(growth)
        self.futility = None if futility is None else float(futility)
        self.mode, self.radii = mode, _radii(mode, radii)
        super().__init__(n0, n, alpha, weight, skip_wrong)

    def options(self) -> dict[str, Any]:
        """Return the arguments of the constructor as the header of a log holds them: radii as an ascending list."""
        names = ("radii", "share", "futility", "growth")
        return super().options() | {name: getattr(self, name) for name in names}

    def check(self, case: Case) -> None:
        """Refuse radii that even n votes out of n could not certify."""
        super().check(case)
        best = self._looks.lower(self.n, self.n)
        if self.radii and case.needed(self.radii[0]) > best:
            raise UserError(
                f"certifier.radii: {self.radii[0]:g} is out of reach, the largest radius that n={self.n} samples can"
                " certify at"
                f" alpha={self.alpha:g} is {case.radius(best):.6g}"
            )

    def estimate(self, case: Case, top: int) -> Generator[Votes, np.ndarray, Certificate]:
        """Look after a hundred samples, then at growing totals, until all is decided."""
        needed = self.thresholds(case)
        standing = Standing(0, len(needed), (0, 1))
        for total in look_totals(self.n, self.growth):
            counts = yield Votes("estimation", total)
            standing = self.look(standing, needed, int(counts[top]), total)
            if self.stops(standing):
                break
        last = (int(counts[top]), total)
        look = max(standing.look, last, key=lambda look: self._looks.lower(*look))
        return self.conclude(case, top, counts, look, self._reason(standing, len(needed), total))

    def thresholds(self, case: Case) -> list[float]:
        """Return the probabilities that the radii of the mode need, ascending, without those out of reach."""
        best = self._looks.lower(self.n, self.n)
        return [needed for needed in map(case.needed, self.radii or [0.0]) if needed <= best]

    def look(self, standing: Standing, needed: Sequence[float], count: int, total: int) -> Standing:
        """Return what stands after a look at ``count`` votes of ``total``: evidence for the next, and against the
        highest open.
        """
        reached, still = standing.reached, standing.open
        while reached < still and self._reaches(needed[reached], count, total):
            reached += 1
        while still > reached and self._hopeless(needed[still - 1], count, total):
            still -= 1
        return Standing(reached, still, (count, total) if reached > standing.reached else standing.look)

    def stops(self, standing: Standing) -> bool:
        """Whether no further sample is wanted: all is decided, or in the mode ``"radius"`` all is given up."""
        return standing.open == 0 if self.mode == "radius" else standing.decided

    def _reaches(self, needed: float, count: int, total: int) -> bool:
        if total == self.n:
            return self._looks.lower(count, total) >= needed
        return log_evalue(count, total, needed) >= -math.log(self.share * self.alpha)

    def _hopeless(self, needed: float, count: int, total: int) -> bool:
        """Whether even unanimous votes from here on would not do, or the same test on the failures says so.

        The level of that test is free: giving up is always sound.
        """
        if total - count > self.n - least_count(self._looks, needed):
            return True
        return self.futility is not None and log_evalue(total - count, total, 1 - needed) >= -math.log(self.futility)

    def _reason(self, standing: Standing, radii: int, total: int) -> str:
        """Of several radii some may be reached and the rest given up: then all is decided."""
        if total == self.n:
            return "n"
        return CERTIFIED if standing.reached == radii else "decided" if standing.reached else "futile"


def _radii(mode: str, radii: float | Sequence[float] | None) -> list[float] | None:
    """Return the radii of a mode in ascending order."""
    radii = [radii] if isinstance(radii, (int, float)) else radii
    if mode not in MODES:
        raise UserError(f"certifier.mode is '{mode}': choose one of {', '.join(MODES)}")
    if mode == "radius":
        if radii is not None:
            raise UserError(
                f"certifier.radii is {list(radii)}: the mode 'radius' takes none, choose 'grid' or 'target'"
            )
        return None
    values = sorted(map(float, RADII if radii is None and mode == "grid" else radii or []))
    if not values or (mode == "target" and len(values) != 1):
        raise UserError(
            f"certifier.radii is {radii}: give"
            f" {'one radius, as [0.5]' if mode == 'target' else 'radii, as [0.0, 0.5, 1.0]'}"
        )
    if not all(0 <= value < math.inf for value in values):
        raise UserError(f"certifier.radii is {list(radii or [])}: give finite radii >= 0, in [0,1] pixel units")
    return values
