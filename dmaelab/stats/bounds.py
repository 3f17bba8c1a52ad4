"""Exact bounds and tests on vote counts: Clopper-Pearson, and the binomial test of PREDICT.

The functions are cached, because the same few counts occur for many images of a data set.
"""

import math
from functools import lru_cache

from scipy import special

from dmaelab.utils.errors import UserError

# The quantile is computed to about 1e-14. Subtracting more than that keeps the bound below the exact one.
_ROUNDING = 1e-12


@lru_cache(maxsize=2**16)
def clopper_pearson_lower(count: int, n: int, alpha: float) -> float:
    """Return the one-sided lower confidence bound of a probability at level ``1 - alpha``.

    It is the alpha quantile of Beta(count, n - count + 1) (Clopper and Pearson, 1934): 0 for ``count = 0`` and
    ``alpha^(1/n)`` for ``count = n``. 1e-12 is subtracted, so that rounding cannot make the bound too high.

    Args:
        count: successes among the ``n`` samples.
        n: number of samples, at least 1.
        alpha: allowed probability that the bound is too high, in (0, 1).

    Raises:
        UserError: a count outside 0..n, n < 1, or alpha outside (0, 1).
    """
    _check(count, n, alpha)
    if count == 0:
        return 0.0
    root = alpha ** (1 / n) if count == n else float(special.betaincinv(count, n - count + 1, alpha))
    return max(0.0, root - _ROUNDING)


@lru_cache(maxsize=2**16)
def clopper_pearson_upper(count: int, n: int, alpha: float) -> float:
    """Return the one-sided upper confidence bound of a probability at level ``1 - alpha``; 1 for ``count = n``.

    It is 1 minus the lower bound for the failures. Arguments and errors are as in :func:`clopper_pearson_lower`.
    """
    return 1.0 - clopper_pearson_lower(n - count, n, alpha)


@lru_cache(maxsize=2**16)
def predict_pvalue(count1: int, count2: int) -> float:
    """Return the p-value of the exact two-sided binomial test that two classes are equally likely.

    It is min(1, 2 P[Bin(count1 + count2, 1/2) >= larger count]), since both tails are equal at probability 1/2.
    PREDICT (Cohen et al., 2019) returns the class of the larger count if the p-value is at most alpha, and abstains
    otherwise.

    Raises:
        UserError: a count is negative.
    """
    if min(count1, count2) < 0:
        raise UserError(f"vote counts are {count1} and {count2}: counts cannot be negative")
    larger, smaller = max(count1, count2), min(count1, count2)
    if larger == smaller:
        return 1.0
    return min(1.0, 2 * float(special.betainc(larger, smaller + 1, 0.5)))


def smallest_n(alpha: float) -> int:
    """Return the smallest number of samples n with which CERTIFY can return a class at level alpha.

    In the best case all n votes are for one class, and the lower bound alpha^(1/n) must exceed 1/2.
    """
    _check(0, 1, alpha)
    return math.floor(math.log2(1 / alpha)) + 1


def smallest_n_predict(alpha: float) -> int:
    """Return the smallest number of samples n with which PREDICT can return a class at level alpha.

    In the best case all n votes are for one class, and the p-value 2^(1-n) must not exceed alpha.
    """
    _check(0, 1, alpha)
    return math.ceil(math.log2(2 / alpha))


def _check(count: int, n: int, alpha: float) -> None:
    if not 0 < alpha < 1:
        raise UserError(f"alpha is {alpha}: give a probability between 0 and 1, such as 0.001")
    if n < 1 or not 0 <= count <= n:
        raise UserError(f"invalid count, {count} of {n} samples: needs n >= 1 and 0 <= count <= n")
