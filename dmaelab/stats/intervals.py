"""Confidence intervals of a proportion, such as certified accuracy over a sample of images."""

import numpy as np
from numpy.typing import ArrayLike

from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.utils.errors import UserError

_METHODS = {"clopper-pearson": "beta", "wilson": "wilson"}
METHODS = tuple(_METHODS)

CONFIDENCE = 0.95
"""The confidence of all intervals: the probability with which an interval covers the proportion."""


def proportion_interval(count: ArrayLike, n: int, method: str = "clopper-pearson") -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a two-sided 95 % confidence interval, float64 arrays of the shape of ``count``.

    Args:
        count: successes, integers of any shape.
        n: number of trials, the same for all, at least 1.
        method: ``"clopper-pearson"`` (exact: its coverage is at least 95 %) or ``"wilson"`` (score
            interval: shorter, its coverage is 95 % on average).

    Raises:
        UserError: unknown method, a count outside 0..n, or n < 1.
    """
    # Imported here because statsmodels takes most of a second to import, and tables without intervals do not need it.
    from statsmodels.stats.proportion import proportion_confint

    count = np.asarray(count)
    if method not in _METHODS:
        raise UserError(f"interval method '{method}' is unknown: use one of {', '.join(_METHODS)}")
    if n < 1 or (count.size and not (count.min() >= 0 and count.max() <= n)):
        raise UserError(f"an interval of a proportion needs n >= 1 and counts in 0..n, got n={n}, counts {count}")
    low, high = proportion_confint(count, n, alpha=1 - CONFIDENCE, method=_METHODS[method])
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)


def population_bound(count: int, n: int, alpha: float, rho: float) -> float:
    """Return a lower bound of the robust accuracy over the population from which the images were drawn.

    It is ``(CP_low(count, n, rho) - alpha) / (1 - alpha)``, at least 0, where CP_low is the Clopper-Pearson bound. An
    image that is not robust is certified with probability at most alpha. Hence the fraction q of robust images
    satisfies P(certified) <= q + alpha (1 - q), and the Clopper-Pearson bound of P(certified) holds with probability
    1 - rho. This requires images drawn at random and independent noise for each image.

    Args:
        count: number of images certified with the right class, at one radius.
        n: number of all images, at least 1.
        alpha: failure probability of each certificate, in [0, 1).
        rho: allowed probability that the bound is too high, in (0, 1).

    Raises:
        UserError: a value outside its range.
    """
    if not 0 <= alpha < 1:
        raise UserError(f"alpha is {alpha}: give the failure probability of the certificates, such as 0.001")
    if not 0 < rho < 1:
        raise UserError(f"the bound's failure probability is {rho}: give one between 0 and 1, such as 0.05")
    return max(0.0, (clopper_pearson_lower(int(count), int(n), rho) - alpha) / (1 - alpha))
