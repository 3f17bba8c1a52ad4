import json
import math
from pathlib import Path

import pytest
from scipy import stats

from dmaelab.stats.bounds import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    predict_pvalue,
    smallest_n,
    smallest_n_predict,
)
from dmaelab.utils.errors import UserError

DATA = Path(__file__).parents[1] / "data"
RADII = json.loads((DATA / "golden_radii.json").read_text())
PREDICT = json.loads((DATA / "golden_predict.json").read_text())


@pytest.mark.parametrize("golden", RADII, ids=lambda g: f"{g['nA']}of{g['n']}")
def test_lower_bound_equals_the_golden_and_never_exceeds_it(golden):
    bound = clopper_pearson_lower(golden["nA"], golden["n"], golden["alpha"])
    assert bound == pytest.approx(golden["pA_lower_float64"], abs=1e-11, rel=0)
    assert bound <= golden["pA_lower_float64"]
    assert (bound < 0.5) == golden["abstain"]


@pytest.mark.parametrize("n", [1, 7, 60])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.4])
def test_bounds_hold_by_the_definition_through_binomial_tails(n, alpha):
    for count in range(n + 1):
        low, high = clopper_pearson_lower(count, n, alpha), clopper_pearson_upper(count, n, alpha)
        assert 0 <= low <= count / n <= high <= 1
        # The bound is the probability at which the count, or one further out, has probability alpha.
        assert count == 0 or stats.binom.sf(count - 1, n, low) == pytest.approx(alpha, rel=1e-6)
        assert count == n or stats.binom.cdf(count, n, high) == pytest.approx(alpha, rel=1e-6)
    assert clopper_pearson_lower(0, n, alpha) == 0
    assert clopper_pearson_upper(n, n, alpha) == 1
    assert clopper_pearson_lower(n, n, alpha) == pytest.approx(alpha ** (1 / n), abs=2e-12)


def test_coverage_of_the_lower_bound_is_exact_for_every_probability():
    n, alpha = 40, 0.05
    for p in (0.03, 0.3, 0.5, 0.77, 0.99):
        failure = sum(stats.binom.pmf(k, n, p) for k in range(n + 1) if clopper_pearson_lower(k, n, alpha) > p)
        assert failure <= alpha


@pytest.mark.parametrize(
    ("count", "n", "alpha"), [(-1, 10, 0.1), (11, 10, 0.1), (0, 0, 0.1), (1, 10, 0.0), (1, 10, 1.0), (1, 10, math.nan)]
)
@pytest.mark.parametrize("bound", [clopper_pearson_lower, clopper_pearson_upper])
def test_impossible_counts_and_levels_are_refused(bound, count, n, alpha):
    with pytest.raises(UserError, match=r"alpha is|invalid count"):
        bound(count, n, alpha)


@pytest.mark.parametrize("golden", PREDICT, ids=lambda g: f"{g['count1']}-{g['count2']}")
def test_pvalue_equals_the_golden(golden):
    value = predict_pvalue(golden["count1"], golden["count2"])
    assert value == pytest.approx(golden["pvalue"], rel=1e-9)
    assert value == predict_pvalue(golden["count2"], golden["count1"])
    assert (value > golden["alpha"]) == golden["abstain"]


def test_pvalue_equals_scipys_test_on_every_small_split():
    for n in range(1, 30):
        for count in range(n + 1):
            assert predict_pvalue(count, n - count) == pytest.approx(stats.binomtest(count, n, 0.5).pvalue, rel=1e-10)
    assert predict_pvalue(0, 0) == 1
    with pytest.raises(UserError, match="negative"):
        predict_pvalue(3, -1)


@pytest.mark.parametrize("alpha", [0.5, 0.3, 2.0**-10, 0.001, 1e-6, 0.9])
def test_smallest_n_is_where_unanimous_votes_begin_to_answer(alpha):
    n = smallest_n(alpha)
    assert clopper_pearson_lower(n, n, alpha) > 0.5
    assert n == 1 or clopper_pearson_lower(n - 1, n - 1, alpha) <= 0.5
    n = smallest_n_predict(alpha)
    assert predict_pvalue(n, 0) <= alpha
    assert predict_pvalue(n - 1, 0) > alpha


def test_smallest_n_at_the_usual_level():
    assert (smallest_n(0.001), smallest_n_predict(0.001)) == (10, 11)
    with pytest.raises(UserError, match="alpha is 0"):
        smallest_n(0)
