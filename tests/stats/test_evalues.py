import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from dmaelab.stats.evalues import log_evalue, sequence_lower
from dmaelab.utils.errors import UserError

DATA = Path(__file__).parents[1] / "data"
GOLDEN = json.loads((DATA / "golden_sequential.json").read_text())
EXTRA = json.loads((DATA / "golden_sequential_extra.json").read_text())


@pytest.mark.parametrize("golden", GOLDEN["log_e"] + EXTRA["edge_log_e"], ids=lambda g: f"{g['S']}of{g['t']}-{g['q']}")
def test_golden_evalues(golden):
    expected = -math.inf if golden["log_e"] is None else golden["log_e"]
    assert log_evalue(golden["S"], golden["t"], golden["q"]) == pytest.approx(expected, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("golden", GOLDEN["cs_lower"], ids=lambda g: f"{g['S']}of{g['t']}")
def test_golden_bounds_and_never_more(golden):
    bound = sequence_lower(golden["S"], golden["t"], golden["alpha"])
    assert bound == pytest.approx(golden["L"], abs=1e-9)
    assert bound <= golden["L"]


def test_it_is_the_mean_likelihood_ratio_over_the_truncated_prior():
    count, total, q, (a, b) = 8, 10, 0.55, (2.0, 1.5)

    def weighted_ratio(theta):
        return (theta / q) ** count * ((1 - theta) / (1 - q)) ** (total - count) * stats.beta.pdf(theta, a, b)

    expected = integrate.quad(weighted_ratio, q, 1)[0] / stats.beta.sf(q, a, b)
    assert math.exp(log_evalue(count, total, q, (a, b))) == pytest.approx(expected, rel=1e-9)


def test_it_never_rises_in_q_for_any_prior():
    """What makes the bisection safe, and one event of all radii; proved for every Beta prior and count."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        prior = tuple(np.exp(rng.uniform(-3, 5, 2)))
        total = int(np.exp(rng.uniform(0, 12)))
        count = int(rng.integers(1, total, endpoint=True))
        grid = np.sort(rng.uniform(0, count / total, 8))
        values = [log_evalue(count, total, float(q), prior) for q in grid]
        tolerance = 1e-9 * (1 + total**0.5)  # rounding of the log-gammas
        assert all(higher <= lower + tolerance for lower, higher in itertools.pairwise(values)), (prior, count, total)
        assert log_evalue(count, total, float(rng.uniform(count / total, 1)), prior) == -math.inf


def test_the_bound_is_where_the_evidence_ends():
    rng = np.random.default_rng(1)
    for _ in range(300):
        total = int(np.exp(rng.uniform(0, 11.5)))
        count, alpha = int(rng.integers(0, total, endpoint=True)), float(10 ** rng.uniform(-6, -0.5))
        bound = sequence_lower(count, total, alpha)
        assert 0 <= bound <= count / total
        if bound:
            assert log_evalue(count, total, bound) >= -math.log(alpha)
            assert log_evalue(count, total, bound + 1e-9) < -math.log(alpha)


def test_the_bound_grows_with_the_successes_and_with_alpha():
    bounds = [sequence_lower(count, 200, 1e-3) for count in range(201)]
    assert bounds == sorted(bounds)
    assert bounds[0] == 0 < bounds[-1] < 1
    assert sequence_lower(150, 200, 1e-4) < sequence_lower(150, 200, 1e-2)


def test_even_unanimous_votes_need_their_time():
    """The likelihood ratio of t successes is at most q^-t, so nothing is certified before ln(1/alpha) / ln(1/q)."""
    for q, alpha in ((0.5, 1e-4), (0.9, 1e-3), (0.99, 0.05)):
        soonest = math.log(1 / alpha) / math.log(1 / q)
        for total in range(1, math.ceil(soonest)):
            assert sequence_lower(total, total, alpha) < q
        assert sequence_lower(3 * math.ceil(soonest), 3 * math.ceil(soonest), alpha) > q


def test_looking_always_errs_at_most_alpha():
    """Exact, over all paths of 400 samples with a look at each: P(any bound above p) <= alpha."""
    alpha = 0.05
    for p in (0.05, 0.5, 0.8, 0.97):
        alive, wrong = np.array([1.0]), 0.0
        for total in range(1, 401):
            alive = np.append(alive * (1 - p), 0) + np.append(0, alive * p)
            above = np.array([log_evalue(count, total, p) >= -math.log(alpha) for count in range(total + 1)])
            wrong += alive[above].sum()
            alive[above] = 0
        assert 0.005 < wrong <= alpha


@pytest.mark.parametrize("arguments", [(5, 4, 0.1), (-1, 4, 0.1), (0, 0, 0.1), (1, 4, 0.0), (1, 4, 1.0)])
def test_bad_input_is_one_line(arguments):
    with pytest.raises(UserError, match=r"count|sample|alpha"):
        sequence_lower(*arguments)
