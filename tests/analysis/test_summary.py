import json
from pathlib import Path

import pytest
from scipy import stats

from dmaelab.analysis.summary import RADII, certified_counts, certified_radius, default_radii, reached, summarize
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import UserError

LOGS = Path(__file__).parents[1] / "data" / "certify_logs"
EXPECTED = json.loads((LOGS / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_public_logs_give_the_known_figures(name):
    log = read_log(LOGS / name)
    summary, expected = summarize(log), EXPECTED[name]
    assert summary.rows == expected["rows"]
    assert summary.abstain == pytest.approx(expected["abstain"], abs=1e-6)
    assert summary.acr == pytest.approx(expected["acr"], abs=1e-6)
    shares = {
        f"{radius:.2f}": count / summary.rows for radius, count in zip(summary.radii, summary.counts, strict=True)
    }
    assert shares == pytest.approx(expected["cert_acc"], abs=1e-6)
    assert log.radius.max() == pytest.approx(expected["max_radius"], abs=1e-6)
    assert (log.index[0], log.index[1] - log.index[0]) == (expected["idx_first"], expected["idx_step"])


def test_all_public_logs_are_here():
    assert len(EXPECTED) == 16
    assert sorted(EXPECTED) == sorted(path.name for path in LOGS.glob("*.tsv"))


def test_abstained_and_wrong_images_count_as_uncertified(make_log):
    summary = summarize(make_log((1, 1, 0.6), (1, 2, 0.9), (1, -1, 0.0), (0, 0, 0.2)), (0.0, 0.25, 0.5, 1.0))
    assert summary.counts == (2, 1, 1, 0)
    assert summary.clean == 2
    assert summary.abstain == 0.25
    assert summary.acr == pytest.approx(0.2)
    assert summary.median == pytest.approx(0.1)


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
    assert summarize(make_log(*rows, stop_reason=[float("nan")] * 3)).abstain == pytest.approx(1 / 3)
    assert summarize(make_log((1, -2, 0.0), (1, -1, 0.0))).abstain is None


def test_nothing_certified_at_all(make_log):
    summary = summarize(make_log((1, -1, 0.0), (1, 0, 0.3)))
    assert set(summary.counts) == {0}
    assert summary.acr == 0


def test_median_is_over_all_images(make_log):
    assert summarize(make_log((0, 0, 0.4), (0, 0, 0.2), (0, 1, 9.0))).median == 0.2
    assert summarize(make_log((0, 0, 0.4), (0, -1, 0.0), (0, 1, 9.0))).median == 0


def test_samples_are_the_mean_of_their_column(make_log):
    rows = [(0, 0, 1.0)] * 2
    assert summarize(make_log(*rows, samples=[100, 1100])).samples == 600
    assert summarize(make_log(*rows)).samples is None
    assert summarize(make_log(*rows, samples=["many", "few"])).samples is None


@pytest.mark.parametrize(("method", "scipys"), [("clopper-pearson", "exact"), ("wilson", "wilson")])
def test_interval_is_the_one_that_was_asked_for(make_log, method, scipys):
    summary = summarize(make_log(*[(0, 0, 1.0)] * 7, *[(0, 1, 1.0)] * 3))
    other = stats.binomtest(7, 10).proportion_ci(0.95, scipys)
    assert summary.interval(summary.clean, method) == pytest.approx((other.low, other.high), abs=1e-9)


def test_bound_takes_the_false_certificates_off(make_log):
    summary = summarize(make_log(*[(0, 0, 1.0)] * 70, *[(0, 1, 1.0)] * 30))
    lower = stats.binomtest(70, 100, alternative="greater").proportion_ci(0.95, "exact").low
    assert summary.bound(summary.clean, 0.01, 0.05) == pytest.approx((lower - 0.01) / 0.99, abs=1e-9)
    assert summary.bound(0, 0.01, 0.05) == 0


def test_default_radii_follow_the_norm(make_log):
    def in_(norm, *radii):
        return make_log(*[(0, 0, radius) for radius in radii], header={"identity": {"norm": norm}})

    assert default_radii([in_("l2", 0.01), in_("l1", 9.0)]) == RADII
    assert default_radii([in_("linf", 0.001), in_("linf", 0.015)]) == (
        0,
        0.002,
        0.004,
        0.006,
        0.008,
        0.01,
        0.012,
        0.014,
    )
    assert default_radii([in_("l0", 3.0)]) == (0, 1, 2, 3)
    assert default_radii([in_("l0", 14.0)]) == tuple(range(0, 15, 2))
    assert default_radii([in_("linf", 0.0)]) == (0,)


def test_radii_are_reached_as_far_as_any_log_goes(make_log):
    logs = [make_log((0, 0, 0.3), (0, 1, 2.0)), make_log((0, 0, 0.8))]
    assert reached(RADII, logs) == [0.25, 0.5, 0.75]
    assert certified_radius(logs[0]).tolist() == [0.3, 0]


@pytest.mark.parametrize("radius", [-0.1, float("nan"), float("inf")])
def test_radii_that_make_no_sense_are_refused(make_log, radius):
    with pytest.raises(UserError, match="radii are"):
        summarize(make_log((0, 0, 1.0)), (0.0, radius))
