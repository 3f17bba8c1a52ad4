"""Bounds that hold at every look at once: what a certifier may claim after some of its n samples, or all of them."""

import bisect
import math
from dataclasses import dataclass
from functools import lru_cache

from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.evalues import sequence_lower


@dataclass(frozen=True)
class Looks:
    """The bounds of one certification, the same for every image.

    A share of alpha pays for an anytime-valid sequence, which bounds at any look; the rest for one
    Clopper-Pearson bound, which only the n-th sample opens. Both are events of the hypothetical run to n,
    whenever it is stopped, so together they fail with probability at most alpha. ``share=0`` is the fixed
    number of samples of Cohen et al. (2019).

    Attributes:
        n: samples at most, fixed before the first.
        alpha: probability with which any of the bounds may be wrong.
        share: part of alpha for the sequence, in [0, 1).
        weight: part of alpha for the lower bound where it stands beside an upper one, in (0, 1).
    """

    n: int
    alpha: float
    share: float = 0.0
    weight: float = 0.9

    def lower(self, count: int, total: int, part: float = 1.0) -> float:
        """Return a lower bound of the probability of what happened ``count`` times in the first ``total`` samples.

        Over all looks it is too high with probability at most ``part * alpha``; 0 where a look shows nothing.
        """
        bounds = [0.0]
        if self.share:
            bounds.append(sequence_lower(count, total, part * self.share * self.alpha))
        if total == self.n:
            bounds.append(clopper_pearson_lower(count, total, part * (1 - self.share) * self.alpha))
        return max(bounds)

    def lower_beside(self, count: int, total: int) -> float:
        """Return the lower bound at ``weight * alpha``, to be used together with :meth:`upper_beside`."""
        return self.lower(count, total, self.weight)

    def upper_beside(self, count: int, total: int) -> float:
        """Return an upper bound at ``(1 - weight) * alpha`` for every class but the selected one.

        ``count`` is the largest of their counts at that look: it is at least that of the likeliest of
        them, which is fixed, so that no sum over classes is needed.
        """
        return 1 - self.lower(total - count, total, 1 - self.weight)


@lru_cache(maxsize=2**12)
def least_count(looks: Looks, needed: float) -> int:
    """Return the least count among all n samples whose lower bound is at least ``needed``; n + 1 where none is."""
    return bisect.bisect_left(range(looks.n + 1), True, key=lambda count: looks.lower(count, looks.n) >= needed)


def look_totals(n: int, growth: float, first: int = 100) -> list[int]:
    """Return after how many samples to look: from ``first`` on, ``growth`` times as many each time, and n at last.

    A look shortly before n is left out, which would cost a decision and save nothing.
    """
    steps = math.log(n / first) / math.log(growth) if n > first else 0.0
    return sorted({math.ceil(first * growth**step) for step in range(math.ceil(steps - 0.5))} | {n})
