"""Compare two classifiers on the same images: exact McNemar test, and bootstrap interval of a mean difference."""

import numpy as np
from numpy.typing import ArrayLike

from dmaelab.stats.bounds import predict_pvalue
from dmaelab.stats.intervals import CONFIDENCE
from dmaelab.utils.errors import UserError

# Number of random positions drawn at once, 8 MiB.
_BLOCK = 2**20


def mcnemar_pvalue(only_first: int, only_second: int) -> float:
    """Return the p-value of the exact two-sided McNemar test that two classifiers are equally accurate.

    Images on which both succeed or both fail carry no information about the difference. On each of the others the first
    classifier succeeds with probability 1/2 under the hypothesis (McNemar, 1947). This is the same binomial test that
    PREDICT applies to its two largest counts.

    Args:
        only_first: number of images on which the first succeeds and the second fails.
        only_second: number of images on which the second succeeds and the first fails.

    Raises:
        UserError: a count is negative.
    """
    return predict_pvalue(int(only_first), int(only_second))


def bootstrap_mean(differences: ArrayLike, resamples: int = 10_000) -> tuple[float, float]:
    """Return the ends of the 95 % percentile bootstrap interval of a mean (Efron, 1979).

    For differences of two classifiers on each image this is the paired bootstrap: each resample draws images. The seed
    is fixed, so the same differences give the same interval.

    Args:
        differences: one value per image, at least one.
        resamples: number of resampled means.

    Raises:
        UserError: no differences, or no resamples.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 1 or not differences.size or resamples < 1:
        raise UserError("a bootstrap needs at least one difference and one resample")
    generator = np.random.default_rng(0)
    at_once = max(1, _BLOCK // differences.size)
    means = [
        differences[generator.integers(differences.size, size=(min(at_once, resamples - done), differences.size))].mean(
            axis=1
        )
        for done in range(0, resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
