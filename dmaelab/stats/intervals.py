"""Confidence intervals of a proportion, such as certified accuracy over a sample of images."""

import numpy as np
from numpy.typing import ArrayLike

from dmaelab.utils.errors import UserError

_METHODS = {"clopper-pearson": "beta", "wilson": "wilson"}


def proportion_interval(
    count: ArrayLike, n: int, confidence: float = 0.95, method: str = "clopper-pearson"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a two-sided confidence interval, float64 arrays of the shape of ``count``.

    Args:
        count: successes, integers of any shape.
        n: number of trials, the same for all, at least 1.
        confidence: probability that the interval covers the proportion, in (0, 1).
        method: ``"clopper-pearson"`` (exact: covers at least that often) or ``"wilson"`` (score
            interval, shorter: covers that often on average).

    Raises:
        UserError: unknown method, a count outside 0..n, n < 1, or confidence outside (0, 1).
    """
    # statsmodels takes most of a second to import; a table without intervals starts without it.
    from statsmodels.stats.proportion import proportion_confint

    count = np.asarray(count)
    if method not in _METHODS:
        raise UserError(f"interval method '{method}' is unknown: use one of {', '.join(_METHODS)}")
    if not 0 < confidence < 1:
        raise UserError(f"confidence is {confidence}: give a probability between 0 and 1, such as 0.95")
    if n < 1 or (count.size and not (count.min() >= 0 and count.max() <= n)):
        raise UserError(f"an interval of a proportion needs n >= 1 and counts in 0..n, got n={n}, counts {count}")
    low, high = proportion_confint(count, n, alpha=1 - confidence, method=_METHODS[method])
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
