import json
from pathlib import Path

import pytest
from scipy import stats

from dmaelab.analysis.summary import RADII, certified_counts, summarize
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import UserError

LOGS = Path(__file__).parents[1] / "data" / "certify_logs"
EXPECTED = json.loads((LOGS / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_public_logs_give_the_known_figures(name):
    summary, expected = summarize(read_log(LOGS / name)), EXPECTED[name]
    assert summary.rows == expected["rows"]
    assert summary.abstain == pytest.approx(expected["abstain"], abs=1e-6)
    assert summary.acr == pytest.approx(expected["acr"], abs=1e-6)
    shares = {f"{radius:.2f}": count / summary.rows for radius, count in zip(summary.radii, summary.counts, strict=True)}
    assert shares == pytest.approx(expected["cert_acc"], abs=1e-6)


def test_abstained_and_wrong_images_count_as_uncertified(make_log):
    summary = summarize(make_log((1, 1, 0.6), (1, 2, 0.9), (1, -1, 0.0), (0, 0, 0.2)), (0.0, 0.25, 0.5, 1.0))
    assert summary.counts == (2, 1, 1, 0)
    assert summary.clean == 2
    assert summary.abstain == 0.25
    assert summary.acr == pytest.approx(0.2)


def test_a_radius_on_the_grid_counts_and_one_just_below_does_not(make_log):
    log = make_log((0, 0, 0.75), (0, 0, 0.7499999999999999), (0, 0, 3.0))
    assert certified_counts(log, [0.75, 3.0]).tolist() == [2, 1]
    assert summarize(log).counts[RADII.index(3.0)] == 1


def test_the_grid_is_exact():
    assert RADII == (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3)


def test_abstention_is_unknown_where_images_were_skipped_by_their_label(make_log):
    rows = ((1, 1, 0.6), (1, 2, 0.0), (1, -1, 0.0))
    assert summarize(make_log(*rows, stop_reason=["n", "wrong_class", "n"])).abstain is None
    assert summarize(make_log(*rows, stop_reason=["n", "n", "n"])).abstain == pytest.approx(1 / 3)
    assert summarize(make_log((1, -2, 0.0), (1, -1, 0.0))).abstain is None


def test_nothing_certified_at_all(make_log):
    summary = summarize(make_log((1, -1, 0.0), (1, 0, 0.3)))
    assert set(summary.counts) == {0}
    assert summary.acr == 0


def test_interval_is_the_exact_one(make_log):
    summary = summarize(make_log(*[(0, 0, 1.0)] * 7, *[(0, 1, 1.0)] * 3))
    exact = stats.binomtest(7, 10).proportion_ci(0.95, "exact")
    assert summary.interval(summary.clean) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize("radius", [-0.1, float("nan"), float("inf")])
def test_radii_that_make_no_sense_are_refused(make_log, radius):
    with pytest.raises(UserError, match="radii are"):
        summarize(make_log((0, 0, 1.0)), (0.0, radius))
