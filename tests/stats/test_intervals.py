import numpy as np
import pytest
from scipy import stats

from dmaelab.stats.intervals import population_bound, proportion_interval
from dmaelab.utils.errors import UserError


@pytest.mark.parametrize("method", ["clopper-pearson", "wilson"])
@pytest.mark.parametrize("count", [0, 1, 137, 199, 200])
def test_intervals_equal_scipys(method, count):
    low, high = proportion_interval(count, 200, method=method)
    other = stats.binomtest(count, 200).proportion_ci(0.95, "exact" if method == "clopper-pearson" else "wilson")
    assert (low, high) == pytest.approx((other.low, other.high), abs=1e-9)


def test_exact_interval_covers_at_least_as_often_as_it_says():
    n, counts = 30, np.arange(31)
    low, high = proportion_interval(counts, n)
    assert low.shape == high.shape == counts.shape
    for p in (0.02, 0.4, 0.5, 0.93):
        assert stats.binom.pmf(counts, n, p)[(low <= p) & (p <= high)].sum() >= 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 3, "n": 0}, "n >= 1"),
        ({"count": 3, "n": 2}, "counts in 0..n"),
        ({"count": -1, "n": 2}, "counts in 0..n"),
        ({"count": 1, "n": 2, "method": "wald"}, "'wald' is unknown"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        proportion_interval(**arguments)


def test_population_bound_takes_off_what_false_certificates_may_add():
    lower = stats.binomtest(350, 500, alternative="greater").proportion_ci(0.95, "exact").low
    assert population_bound(350, 500, 0.0, 0.05) == pytest.approx(lower, abs=1e-9)
    assert population_bound(350, 500, 0.1, 0.05) == pytest.approx((lower - 0.1) / 0.9, abs=1e-9)
    assert population_bound(3, 500, 0.1, 0.05) == population_bound(0, 500, 0.001, 0.05) == 0
    assert population_bound(500, 500, 0.001, 0.05) < 1


def certified_counts(p, n, alpha, threshold, rng):
    """Certify images of known top-class probabilities ``p`` [reps, N] at one radius; return how many are, int [reps].

    ``threshold`` is Phi(radius / sigma). The least count whose Clopper-Pearson bound reaches it decides.
    """
    least = next(count for count in range(n + 1) if stats.beta.ppf(alpha, count, n - count + 1) >= threshold)
    return (rng.binomial(n, p) >= least).sum(axis=1)


@pytest.mark.parametrize("robust", [0.2, 0.7])
def test_population_bound_holds_where_every_other_image_is_on_the_edge(robust):
    """Images are robust for certain, or just not robust and falsely certified as often as alpha allows."""
    alpha, rho, images, reps = 0.05, 0.05, 400, 4000
    rng = np.random.default_rng(0)
    edge = 0.6
    p = np.where(rng.random((reps, images)) < robust, 1.0, edge)
    counts = certified_counts(p, 1000, alpha, edge, rng)
    bounds = {count: population_bound(count, images, alpha, rho) for count in np.unique(counts).tolist()}
    failures = np.mean([bounds[count] > robust for count in counts.tolist()])
    assert failures <= rho + 3 * np.sqrt(rho * (1 - rho) / reps)
    naive = {count: population_bound(count, images, 0.0, rho) for count in bounds}
    assert np.mean([naive[count] > robust for count in counts.tolist()]) > 1.5 * rho  # the term with alpha is needed


def test_population_bound_holds_for_a_population_of_all_kinds():
    alpha, rho, images, reps, threshold = 0.05, 0.1, 300, 3000, 0.7
    rng = np.random.default_rng(1)
    p = rng.beta(1.2, 0.6, size=(reps, images))
    robust = stats.beta.sf(threshold, 1.2, 0.6)
    counts = certified_counts(p, 200, alpha, threshold, rng)
    bounds = np.array([population_bound(count, images, alpha, rho) for count in counts.tolist()])
    assert np.mean(bounds > robust) <= rho + 3 * np.sqrt(rho * (1 - rho) / reps)
    assert bounds.mean() > robust - 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2, 0.1, 0.1), "3 of 2"),
        ((1, 2, 1.0, 0.1), "alpha is 1.0"),
        ((1, 2, -0.1, 0.1), "alpha is -0.1"),
        ((1, 2, 0.1, 0.0), "failure probability is 0.0"),
        ((1, 2, 0.1, 5), "failure probability is 5"),
    ],
)
def test_population_bound_refuses_bad_input(arguments, message):
    with pytest.raises(UserError, match=message):
        population_bound(*arguments)
