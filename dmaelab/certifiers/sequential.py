"""CERTIFY with early stopping: it looks at the votes while it samples, and stops when all radii are decided."""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmaelab.certifiers.build import CERTIFIERS
from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import Certificate, Votes
from dmaelab.certifiers.two_stage import CERTIFIED, TwoStage
from dmaelab.records.row import WRONG_CLASS
from dmaelab.stats.evalues import log_evalue
from dmaelab.stats.looks import is_look, least_count, look_totals
from dmaelab.stats.radii import RADII
from dmaelab.utils.errors import UserError

MODES = ("target", "grid", "radius")

_SLACK = 1e-9


@dataclass(frozen=True)
class Standing:
    """What the looks so far have shown about a list of needed probabilities, in ascending order.

    Attributes:
        reached: number of them, from the lowest on, that p is shown to exceed.
        open: number of them, from the lowest on, that are not given up as too high.
        look: ``(count, total)`` of the last look at which ``reached`` grew; it is a candidate for p_lower.
    """

    reached: int
    open: int
    look: tuple[int, int]

    @property
    def decided(self) -> bool:
        """Whether each needed probability is reached or given up."""
        return self.reached >= self.open


@CERTIFIERS.register("sequential")
class Sequential(TwoStage):
    """CERTIFY with early stopping: the same guarantee as with a fixed n, for a fraction of the samples.

    It abstains, or gives a radius that is wrong with probability at most alpha, for whatever reason it stopped. A share
    of alpha is used by a test that is valid at every look (:mod:`dmaelab.stats.evalues`). The rest is used by one
    Clopper-Pearson bound, which is computed only from all n samples (:class:`~dmaelab.stats.looks.Looks`). A radius is
    given up if it seems out of reach. This may make the result smaller, but never wrong.

    The mode says what it samples for:

    * ``"grid"``: until each of ``radii`` is certified or given up. The certified accuracy at these radii is that of a
      fixed n, up to 0.2 points in simulation. Between them it may be smaller.
    * ``"target"``: the same for one radius.
    * ``"radius"``: all n samples, for the largest radius. It stops early only if no one-sided radius can be certified.

    The one-sided radius decides when it stops. The two-sided radius has the same guarantee, but is smaller than with a
    fixed n, and nan in rows that were given up before it was known. Use ``"cohen"`` for two-sided tables.

    Args:
        n0, n, alpha, weight, skip_wrong: as for :class:`~dmaelab.certifiers.two_stage.TwoStage`; no image gets more
            than n estimation samples.
        mode: ``"grid"``, ``"target"`` or ``"radius"``.
        radii: one or more radii, in [0,1] pixel units and the norm of the noise. None means 0, 0.25, ..., 3 for
            ``"grid"``. Radii of a grid that n samples cannot certify are left out.
        share: part of alpha for the early looks, in (0, 1).
        futility: probability of giving up a radius that could be certified. None gives up a radius only if no further
            votes can certify it, which takes several times the samples.
        growth: number of samples at a look divided by that at the look before, > 1.

    Raises:
        UserError: an argument is out of its range; in ``check``, n samples cannot certify any of the radii.
    """

    stop_reasons = ("n", CERTIFIED, "decided", "futile", WRONG_CLASS)

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
                f"certifier.growth is {growth}: give the factor between the samples of two looks, above 1, such as 1.25"
            )
        self.share, self.growth = float(share), float(growth)
        self.futility = None if futility is None else float(futility)
        self.mode, self.radii = mode, _radii(mode, radii)
        super().__init__(n0, n, alpha, weight, skip_wrong)

    def check(self, case: Case) -> None:
        """Raise a ``UserError`` if n unanimous votes cannot even certify the smallest radius."""
        super().check(case)
        best = self._looks.lower(self.n, self.n)
        if self.radii and case.needed(self.radii[0]) > best:
            raise UserError(
                f"certifier.radii: {self.radii[0]:g} is out of reach, the largest radius that n={self.n} samples can"
                f" certify at alpha={self.alpha:g} is {case.radius(best):.6g}"
            )

    def estimate(self, case: Case, top: int) -> Generator[Votes, np.ndarray, Certificate]:
        """Look at the votes after 100 samples and then at growing totals, until all radii are decided."""
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

    def thresholds(self, case: Case, slack: float = 0.0) -> list[float]:
        """Return the probabilities that the radii need, ascending, without those that n samples cannot reach.

        Args:
            case: any image.
            slack: relative amount by which what n samples can reach is taken to be larger.
        """
        best = self._looks.lower(self.n, self.n) * (1 + slack)
        return [needed for needed in map(case.needed, self.radii or [0.0]) if needed <= best]

    def look(self, standing: Standing, needed: Sequence[float], count: int, total: int) -> Standing:
        """Return the standing after a look with ``count`` votes of ``total`` for the selected class.

        The lowest needed probabilities that are not reached yet are tested for being reached, the highest open ones for
        being out of reach.
        """
        reached, still = standing.reached, standing.open
        while reached < still and self._reaches(needed[reached], count, total):
            reached += 1
        while still > reached and self._hopeless(needed[still - 1], count, total):
            still -= 1
        return Standing(reached, still, (count, total) if reached > standing.reached else standing.look)

    def stops(self, standing: Standing) -> bool:
        """Whether to stop: all radii are decided or, in the mode ``"radius"``, all are given up."""
        return standing.open == 0 if self.mode == "radius" else standing.decided

    def _reaches(self, needed: float, count: int, total: int, slack: float = 0.0) -> bool:
        """Whether the votes show a needed probability; ``slack`` lowers the thresholds by this relative amount."""
        if total == self.n:
            return self._looks.lower(count, total) >= needed * (1 - slack)
        return log_evalue(count, total, needed) >= -math.log(self.share * self.alpha) * (1 - slack)

    def _hopeless(self, needed: float, count: int, total: int, slack: float = 0.0) -> bool:
        """Whether to give up a needed probability.

        It is given up if even unanimous further votes would not reach it, or if the same test, applied to the other
        votes, shows at level ``futility`` that p is smaller. Giving up never makes a certificate wrong, so this level
        takes nothing from alpha. ``slack`` changes the thresholds by this relative amount, so that more is given up.
        """
        if total - count > self.n - least_count(self._looks, needed * (1 + slack)):
            return True
        if self.futility is None:
            return False
        return log_evalue(total - count, total, 1 - needed) >= -math.log(self.futility) * (1 - slack)

    def stopped(self, row: Mapping[str, Any], case: Case, look: tuple[int, int]) -> bool:
        """Whether a row may have stopped after its n samples for its reason, and have its bound from ``look``.

        The votes at the looks before the last one are not in the row. What can be seen is that each look comes at a
        planned number of samples, and that a radius is decided at it: the highest is reached ("certified"), the lowest
        is given up ("futile"), or the lowest is reached and others are not ("decided", only if there are several).
        Another machine rounds otherwise: within 1e-9 (relative) of a threshold both answers are accepted.
        """
        n, reason, no_look = row["n"], row["stop_reason"], (0, 1)
        if not (is_look(n, self.n, self.growth) and (look == no_look or is_look(look[1], self.n, self.growth))):
            return False
        if n == self.n or reason == "n":
            return bool(n == self.n and reason == "n")
        last = (row["count_a"], n)
        return any(self._ends(reason, self.thresholds(case, slack), last, look) for slack in (-_SLACK, _SLACK))

    def _ends(self, reason: str, needed: Sequence[float], last: tuple[int, int], look: tuple[int, int]) -> bool:
        """Whether the last look, before all n samples, can end it for a reason if these probabilities are needed."""
        if not needed:  # with nothing to decide, the first look ends it
            return reason == CERTIFIED
        if reason == CERTIFIED:
            return self.mode != "radius" and self._reaches(needed[-1], *last, _SLACK)
        if reason == "futile":
            return self._hopeless(needed[0], *last, _SLACK)
        return len(needed) > 1 and self._reaches(needed[0], *look, _SLACK)

    def _reason(self, standing: Standing, radii: int, total: int) -> str:
        """Return the stop reason; ``"decided"`` means that some radii were reached and the others given up."""
        if total == self.n:
            return "n"
        return CERTIFIED if standing.reached == radii else "decided" if standing.reached else "futile"


def _radii(mode: str, radii: float | Sequence[float] | None) -> list[float] | None:
    """Return the radii of a mode in ascending order, None for the mode ``"radius"``; ``UserError`` if they are bad."""
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
