"""Exact bounds and tests on vote counts: Clopper-Pearson, and the binomial test of PREDICT.

Pure functions of integers, cached: a data set asks for the same few counts again and again.
"""

import math
from functools import lru_cache

from scipy import special

from dmaelab.utils.errors import UserError

# The root is computed to about 1e-14. Taking off more than that keeps a printed bound below the exact one.
_ROUNDING = 1e-12


@lru_cache(maxsize=2**16)
def clopper_pearson_lower(count: int, n: int, alpha: float) -> float:
    """Return the one-sided lower confidence bound of a probability at level ``1 - alpha``.

    The alpha quantile of Beta(count, n - count + 1) (Clopper and Pearson, 1934), less 1e-12; 0 for
    ``count = 0`` and ``alpha^(1/n)`` for ``count = n``.

    Args:
        count: successes among the ``n`` samples.
        n: number of samples, at least 1.
        alpha: probability that the bound may be too high, in (0, 1).

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
    """Return the one-sided upper confidence bound at level ``1 - alpha``: 1 less the failures' lower bound.

    Arguments and errors as in :func:`clopper_pearson_lower`; 1 for ``count = n``.
    """
    return 1.0 - clopper_pearson_lower(n - count, n, alpha)


@lru_cache(maxsize=2**16)
def predict_pvalue(count1: int, count2: int) -> float:
    """Return the p-value of the exact two-sided binomial test that two classes are equally likely.

    PREDICT (Cohen et al., 2019) answers with the class of the larger count if this is at most alpha.
    At probability 1/2 both tails are alike: min(1, 2 P[Bin(count1 + count2, 1/2) >= larger count]).

    Raises:
        UserError: for a negative count.
    """
    if min(count1, count2) < 0:
        raise UserError(f"vote counts are {count1} and {count2}: counts cannot be negative")
    larger, smaller = max(count1, count2), min(count1, count2)
    if larger == smaller:
        return 1.0
    return min(1.0, 2 * float(special.betainc(larger, smaller + 1, 0.5)))


def smallest_n(alpha: float) -> int:
    """Return the least number of samples with which CERTIFY can answer at all at level alpha.

    The best case is n votes out of n, whose bound alpha^(1/n) must exceed 1/2.
    """
    _check(0, 1, alpha)
    return math.floor(math.log2(1 / alpha)) + 1


def smallest_n_predict(alpha: float) -> int:
    """Return the least number of samples with which PREDICT can answer at all at level alpha.

    The best case is n votes out of n, whose p-value 2^(1-n) must not exceed alpha.
    """
    _check(0, 1, alpha)
    return math.ceil(math.log2(2 / alpha))


def _check(count: int, n: int, alpha: float) -> None:
    if not 0 < alpha < 1:
        raise UserError(f"alpha is {alpha}: give a probability between 0 and 1, such as 0.001")
    if n < 1 or not 0 <= count <= n:
        raise UserError(f"{count} of {n} samples is no count: needs n >= 1 and 0 <= count <= n")
