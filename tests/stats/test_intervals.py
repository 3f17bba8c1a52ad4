import numpy as np
import pytest
from scipy import stats

from dmaelab.stats.intervals import proportion_interval
from dmaelab.utils.errors import UserError


@pytest.mark.parametrize("method", ["clopper-pearson", "wilson"])
@pytest.mark.parametrize("count", [0, 1, 137, 199, 200])
def test_intervals_equal_scipys(method, count):
    low, high = proportion_interval(count, 200, method=method)
    other = stats.binomtest(count, 200).proportion_ci(0.95, "exact" if method == "clopper-pearson" else "wilson")
    assert (low, high) == pytest.approx((other.low, other.high), abs=1e-9)


def test_exact_interval_covers_at_least_as_often_as_it_says():
    n, counts = 30, np.arange(31)
    low, high = proportion_interval(counts, n, confidence=0.9)
    assert low.shape == high.shape == counts.shape
    for p in (0.02, 0.4, 0.5, 0.93):
        assert stats.binom.pmf(counts, n, p)[(low <= p) & (p <= high)].sum() >= 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 3, "n": 0}, "n >= 1"),
        ({"count": 3, "n": 2}, "counts in 0..n"),
        ({"count": -1, "n": 2}, "counts in 0..n"),
        ({"count": 1, "n": 2, "confidence": 95}, "confidence is 95"),
        ({"count": 1, "n": 2, "method": "wald"}, "'wald' is unknown"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        proportion_interval(**arguments)
