"""Bounds of a class probability that hold at several looks at once, for certifiers that may stop before n samples."""

import bisect
import math
from dataclasses import dataclass
from functools import lru_cache

from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.evalues import sequence_lower


@dataclass(frozen=True)
class Looks:
    """The bounds that one certification uses, the same for every image.

    A fraction ``share`` of alpha is spent on an anytime-valid bound, which can be used at every look. The rest is spent
    on one Clopper-Pearson bound, which can be used only after all n samples. Both refer to the n samples that would be
    drawn without early stopping, so by the union bound the probability that any of them fails is at most alpha,
    whenever sampling stops. With ``share=0`` this is the fixed number of samples of Cohen et al. (2019).

    Attributes:
        n: largest number of samples, fixed before sampling starts.
        alpha: allowed probability that any of the bounds is wrong.
        share: fraction of alpha for the anytime-valid bound, in [0, 1).
        weight: fraction of alpha for the lower bound if it is used together with an upper bound, in (0, 1).
    """

    n: int
    alpha: float
    share: float = 0.0
    weight: float = 0.9

    def lower(self, count: int, total: int, part: float = 1.0) -> float:
        """Return a lower bound of the probability of a class with ``count`` votes among the first ``total`` samples.

        The probability that the bound of any look is too high is at most ``part * alpha``. The bound is 0 if neither of
        the two bounds can be used at this look.
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
        """Return an upper bound, at level ``(1 - weight) * alpha``, of the probability of each class but the top one.

        ``count`` is the largest vote count of these classes at this look. It is at least the count of the most likely
        one of them. That class does not depend on the samples, so no union bound over the classes is needed.
        """
        return 1 - self.lower(total - count, total, 1 - self.weight)


@lru_cache(maxsize=2**12)
def least_count(looks: Looks, needed: float) -> int:
    """Return the smallest count among n samples whose lower bound is at least ``needed``; n + 1 if there is none."""
    return bisect.bisect_left(range(looks.n + 1), True, key=lambda count: looks.lower(count, looks.n) >= needed)


def look_totals(n: int, growth: float, first: int = 100) -> list[int]:
    """Return the numbers of samples after which to look: ``first * growth**k`` for k = 0, 1, ..., and finally n.

    A look shortly before n is left out, because it would save hardly any samples.
    """
    steps = math.log(n / first) / math.log(growth) if n > first else 0.0
    return sorted({math.ceil(first * growth**step) for step in range(math.ceil(steps - 0.5))} | {n})


def is_look(total: int, n: int, growth: float, first: int = 100) -> bool:
    """Return whether ``total`` is one of :func:`look_totals`; this makes no list, which is long if growth is near 1."""
    if total == n:
        return True
    if not first <= total < n:
        return False
    step = math.floor(math.log(total / first) / math.log(growth))  # or the next one, if the logarithm was rounded down
    last = math.ceil(math.log(n / first) / math.log(growth) - 0.5)
    return any(math.ceil(first * growth**k) == total for k in (step, step + 1) if k < last)
