import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from dmaelab.certifiers import ABSTAIN, Case, Cohen, Sequential
from dmaelab.certifiers.sequential import Standing
from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.evalues import log_evalue
from dmaelab.stats.geometry import GaussianL2, QuantisedGaussianL2
from dmaelab.stats.looks import least_count, look_totals
from dmaelab.testing.certifiers import drive as drive_source
from dmaelab.utils.errors import UserError

MODES = [{"mode": "target", "radii": [0.5]}, {"mode": "grid", "radii": [0.0, 0.25, 0.5, 1.0]}, {"mode": "radius"}]


def unit_case(num_classes=2, label=None):
    return Case(num_classes, GaussianL2(), 1.0, label=label)


def votes_of(share):
    """Two classes of which the first has this share of the estimation samples."""

    def votes(stream, total):
        first = total if stream == "selection" else round(share * total)
        return np.array([first, total - first, 0])

    return votes


def test_a_target_stops_as_soon_as_it_is_certified_or_hopeless():
    certifier = Sequential(100, 100_000, 0.001, mode="target", radii=[0.5])
    sure = drive_source(certifier, unit_case(), votes_of(0.99))
    assert (sure.prediction, sure.n, sure.stop_reason) == (0, 100, "certified")
    assert sure.radius >= 0.5
    hopeless = drive_source(certifier, unit_case(), votes_of(0.6))
    assert hopeless.stop_reason == "futile"
    assert hopeless.n < 1000
    assert hopeless.radius < 0.5
    close = drive_source(certifier, unit_case(), votes_of(norm.cdf(0.5) + 0.001))
    assert (close.n, close.stop_reason, close.look_a.endswith("/100000")) == (100_000, "n", True)


def test_a_grid_stops_when_each_radius_is_decided():
    certifier = Sequential(100, 100_000, 0.001, radii=[0.0, 0.5, 1.0, 9.0])  # 9 sigma is out of reach and left out
    assert drive_source(certifier, unit_case(), votes_of(0.999)).stop_reason == "certified"
    between = drive_source(certifier, unit_case(), votes_of(norm.cdf(0.75)))
    assert between.stop_reason == "decided"
    assert 0.5 <= between.radius < 1
    assert between.n < 2000
    assert drive_source(certifier, unit_case(), votes_of(0.2)).prediction == ABSTAIN


def test_the_whole_radius_needs_all_samples_unless_nothing_can_be_certified():
    certifier = Sequential(100, 10_000, 0.001, mode="radius")
    certificate = drive_source(certifier, unit_case(), votes_of(0.9))
    assert (certificate.n, certificate.stop_reason) == (10_000, "n")
    fixed = drive_source(Cohen(100, 10_000, 0.001), unit_case(), votes_of(0.9))
    assert fixed.radius - 0.0055 < certificate.radius < fixed.radius
    lost = drive_source(certifier, unit_case(), votes_of(0.3))
    assert (lost.prediction, lost.stop_reason) == (ABSTAIN, "futile")
    assert lost.n < 500


def test_without_futility_only_what_no_votes_could_certify_is_given_up():
    certifier = Sequential(100, 2000, 0.001, mode="target", radii=[0.5], futility=None)
    lost = drive_source(certifier, unit_case(), votes_of(0.5))
    least = least_count(certifier._looks, norm.cdf(0.5))
    assert lost.stop_reason == "futile"
    assert lost.n - lost.count_a > 2000 - least  # not even unanimous votes would have done
    assert drive_source(certifier, unit_case(), votes_of((least - 1) / 2000)).n == 2000
    assert drive_source(Sequential(100, 2000, 0.001, mode="target", radii=[0.5]), unit_case(), votes_of(0.5)).n < lost.n


def test_the_default_grid_is_that_of_the_tables():
    assert Sequential().radii == [0.25 * k for k in range(13)]


def test_a_stopped_row_uses_sequences_for_both_bounds_and_the_last_look_clopper_pearson():
    certifier = Sequential(100, 4000, 0.001, mode="target", radii=[0.25])
    stopped = drive_source(certifier, unit_case(), votes_of(0.95))
    count = round(0.95 * 100)
    looks = certifier._looks
    assert (stopped.look_a, stopped.look_b) == (f"{count}/100", f"{100 - count}/100")
    assert stopped.p_lower == looks.lower(count, 100)
    assert stopped.radius_two_sided == unit_case().radius(
        looks.lower_beside(count, 100), looks.upper_beside(100 - count, 100)
    )
    fixed = Cohen(100, 100, 0.001)._looks
    assert stopped.p_lower < fixed.lower(count, 100)  # the fixed-n formula at an early look would overstate
    assert stopped.radius_two_sided < unit_case().radius(
        fixed.lower_beside(count, 100), fixed.upper_beside(100 - count, 100)
    )


def test_a_bound_that_an_early_look_gave_is_kept():
    """Certified at the first look, then the votes turn: p_lower is the best of all looks, and so is its look."""
    certifier = Sequential(100, 2000, 0.01, radii=[0.0, 1.2])

    def turning(stream, total):
        first = min(total, 90) if stream == "estimation" else total
        return np.array([first, total - first, 0])

    certificate = drive_source(certifier, unit_case(), turning)
    assert certificate.look_a == "90/100"
    assert certificate.count_a == 90 < certificate.n
    assert certificate.prediction == 0


def test_where_sampling_was_given_up_for_one_side_the_other_radius_is_unknown_and_not_zero():
    def votes(stream, total):
        first, second = round(0.3 * total), round(0.1 * total)
        return np.array([first, *[second] * 6, total - first - 6 * second, 0])

    for mode in ({"radii": [0.0, 0.5]}, {"mode": "radius"}):
        certificate = drive_source(Sequential(100, 10_000, 0.001, **mode), unit_case(8), votes)
        assert certificate.stop_reason == "futile"
        assert math.isnan(certificate.radius_two_sided) or certificate.radius_two_sided > 0
    assert drive_source(Cohen(100, 10_000, 0.001), unit_case(8), votes).radius_two_sided > 0.25
    tie = drive_source(Sequential(100, 2000, 0.001, radii=[0.0]), unit_case(), votes_of(0.3))
    assert math.isnan(tie.radius_two_sided)


def test_tau_is_taken_off_in_every_decision():
    geometry = QuantisedGaussianL2()
    certifier = Sequential(100, 10_000, 0.001, mode="target", radii=[0.5])
    strict = Case(2, geometry, 1.0, tau=0.01)
    assert certifier.thresholds(strict) == [pytest.approx(norm.cdf(0.5) + 0.01)]
    certificate = drive_source(certifier, strict, votes_of(0.8))
    assert certificate.radius == pytest.approx(norm.ppf(certificate.p_lower - 0.01))


def failure(certifier, p, wrong_at):
    """Return P(a look that is taken has a wrong bound), exactly, by dynamic programming over the schedule of looks.

    ``wrong_at(count, total)`` tells whether the bounds of that look are wrong; whatever stops a run, its claim rests on
    a look that it took.
    """
    needed, before, failed, stopped = certifier.thresholds(unit_case()), 0, 0.0, 0.0
    states = {Standing(0, len(needed), (0, 1)): np.array([1.0])}
    for total in look_totals(certifier.n, certifier.growth):
        steps = binom.pmf(np.arange(total - before + 1), total - before, p)
        wrong = np.array([wrong_at(count, total) for count in range(total + 1)])
        following: dict[Standing, np.ndarray] = {}
        for standing, alive in states.items():
            mass = np.convolve(alive, steps)
            failed += mass[wrong].sum()
            mass[wrong] = 0
            for count in np.flatnonzero(mass > 1e-18):
                after = certifier.look(standing, needed, int(count), total)
                if certifier.stops(after) or total == certifier.n:
                    stopped += mass[count]
                else:  # which look it was does not matter for what follows
                    key = Standing(after.reached, after.open, (0, 1))
                    following.setdefault(key, np.zeros(total + 1))[count] += mass[count]
        states, before = following, total
    assert stopped + failed == pytest.approx(1, abs=1e-9)
    return failed


@pytest.mark.parametrize("options", MODES, ids=lambda options: options["mode"])
@pytest.mark.parametrize("p", [0.5, norm.cdf(0.5), norm.cdf(1.0)])
def test_wrong_certificates_are_rarer_than_alpha(options, p):
    certifier = Sequential(1, 1000, 0.05, **options)
    looks = certifier._looks
    one_sided = failure(certifier, p, lambda count, total: looks.lower(count, total) > p)
    two_sided = failure(
        certifier,
        p,
        lambda count, total: looks.lower_beside(count, total) > p or looks.upper_beside(total - count, total) < 1 - p,
    )
    assert 0 < one_sided <= 0.05
    assert 0 < two_sided <= 0.05


def test_the_bounds_of_a_fixed_n_would_fail_at_early_looks():
    """What the enumeration must catch: Clopper-Pearson at every look, as if it were the last."""
    certifier = Sequential(1, 1000, 0.05, mode="grid", radii=[0.0, 2.0])
    assert failure(certifier, 0.5, lambda count, total: clopper_pearson_lower(count, total, 0.05) > 0.5) > 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "taget"}, "mode is 'taget': choose one of target, grid, radius"),
        ({"radii": math.inf}, "finite radii >= 0"),
        ({"mode": "target"}, r"radii is None: give one radius, as \[0.5\]"),
        ({"mode": "target", "radii": [0.5, 1.0]}, "give one radius"),
        ({"mode": "radius", "radii": [0.5]}, "takes none"),
        ({"radii": []}, "give radii"),
        ({"radii": [-0.5]}, "finite radii >= 0"),
        ({"radii": [math.nan]}, "finite radii >= 0"),
        ({"share": 1.0}, "share is 1.0"),
        ({"futility": 0.0}, "futility is 0.0"),
        ({"growth": 1.0}, "growth is 1.0"),
    ],
)
def test_bad_options_are_one_line(options, words):
    with pytest.raises(UserError, match=words) as caught:
        Sequential(**options)
    assert "\n" not in str(caught.value)


def test_a_target_out_of_reach_is_refused_with_the_largest_radius():
    certifier = Sequential(100, 10_000, 0.001, mode="target", radii=[1.0])
    with pytest.raises(
        UserError,
        match=r"1 is out of reach, the largest radius that n=10000 samples can certify at alpha=0.001 is 0.798",
    ) as caught:
        certifier.check(Case(2, GaussianL2(), 0.25))
    largest = float(str(caught.value).rsplit(" ", 1)[1])
    Sequential(100, 10_000, 0.001, mode="target", radii=[largest - 1e-5]).check(Case(2, GaussianL2(), 0.25))
    certifier.check(unit_case())
    Sequential(100, 10_000, 0.001).check(Case(2, GaussianL2(), 0.25))  # a grid leaves out what is beyond


@pytest.mark.parametrize(("away", "accepted"), [(-1e-6, True), (-1e-12, True), (1e-12, True), (1e-6, False)])
@pytest.mark.parametrize("reason", ["certified", "futile", "decided"])
def test_a_stop_within_rounding_of_its_threshold_is_accepted(reason, away, accepted):
    """Another machine may round the evidence of a look to the other side: ``away`` is how far the threshold lies up."""
    case, n, radii = unit_case(), 125, [0.2, 1.5] if reason == "decided" else [0.2]
    needed, count = case.needed(0.2), 40 if reason == "futile" else 95
    votes, chance = (n - count, 1 - needed) if reason == "futile" else (count, needed)
    level = math.exp(-log_evalue(votes, n, chance) * (1 + away))
    assert level < 1e-3
    option = {"futility": level} if reason == "futile" else {"share": level / 0.001}
    certifier = Sequential(n=10_000, radii=radii, alpha=0.001, **option)
    row = {"n": n, "count_a": count, "stop_reason": reason}
    assert certifier.stopped(row, case, (count, n)) is accepted
