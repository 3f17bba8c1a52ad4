import numpy as np
import pytest
from scipy import stats

from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.resampling import LEVEL, allowed_failures, claim_fails, least_rows


@pytest.mark.parametrize(
    ("rows", "alpha", "allowed"),
    [(1, 0.001, 1), (10, 0.001, 1), (20, 0.001, 1), (100, 0.001, 2), (1000, 0.001, 5), (1, 1e-5, 1), (20, 0.05, 5)],
)
def test_the_failures_that_are_allowed(rows, alpha, allowed):
    assert allowed_failures(rows, alpha) == allowed
    chance = alpha + LEVEL / rows
    assert stats.binom.sf(allowed, rows, chance) <= LEVEL < stats.binom.sf(allowed - 1, rows, chance)


def test_a_certificate_that_is_always_wrong_may_be_wrong():
    assert allowed_failures(5, 0.9999) == 5


@pytest.mark.parametrize(("alpha", "least"), [(1e-5, 2), (0.001, 2), (0.05, 3), (0.1, 4), (0.5, 10)])
def test_fewer_rows_can_call_no_log_wrong(alpha, least):
    assert least_rows(alpha) == least
    assert allowed_failures(least, alpha) < least
    assert allowed_failures(least - 1, alpha) == least - 1


def test_a_claim_fails_at_the_level_of_a_row():
    n, p_lower, rows = 1000, 0.8, 20
    worst = next(hits for hits in range(n + 1) if stats.binom.cdf(hits, n, p_lower) > LEVEL / rows)
    assert not claim_fails(worst, n, p_lower, rows)
    assert claim_fails(worst - 1, n, p_lower, rows)
    assert not claim_fails(0, n, 0.0, rows)
    assert claim_fails(n - 1, n, 1.0, rows)


def called_wrong(p, p_lower, alpha, n, rng):
    """Return for each simulated log [L, K] of probabilities and claims whether its K rows are called wrong."""
    rows = p.shape[1]
    failing = stats.binom.cdf(rng.binomial(n, p), n, p_lower) <= LEVEL / rows
    return failing.sum(axis=1) > allowed_failures(rows, alpha)


@pytest.mark.parametrize(("rows", "alpha"), [(1, 0.001), (20, 0.001), (20, 0.05), (100, 0.01)])
def test_a_sound_log_is_rarely_called_wrong(rows, alpha):
    """The worst sound log: claims are exactly true, or with probability alpha so false that their rows always fail."""
    rng, logs, n = np.random.default_rng(0), 20_000, 500
    p_lower = rng.uniform(0.5, 0.95, (logs, rows))
    p = np.where(rng.uniform(size=p_lower.shape) < alpha, 0.0, p_lower)
    wrong = int(called_wrong(p, p_lower, alpha, n, rng).sum())
    assert stats.binom.sf(wrong - 1, logs, LEVEL) > 1e-6, f"{wrong} of {logs} sound logs are called wrong"


def test_a_log_of_clopper_pearson_bounds_is_rarely_called_wrong():
    rng, logs, rows, n, alpha = np.random.default_rng(1), 5000, 20, 300, 0.05
    p = rng.uniform(0.6, 0.9, (logs, rows))
    bound = np.array([clopper_pearson_lower(count, n, alpha) for count in range(n + 1)])
    wrong = int(called_wrong(p, bound[rng.binomial(n, p)], alpha, n, rng).sum())
    assert stats.binom.sf(wrong - 1, logs, LEVEL) > 1e-6


@pytest.mark.parametrize(("rows", "false"), [(20, 5), (100, 10), (5, 2)])
def test_raised_claims_are_found(rows, false):
    rng, logs, n = np.random.default_rng(2), 500, 1000
    p = np.full((logs, rows), 0.8)
    p_lower = np.full((logs, rows), 0.76)
    p_lower[:, :false] = 0.9
    assert called_wrong(p, p_lower, 0.001, n, rng).mean() > 0.999
