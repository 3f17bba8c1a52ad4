"""What all two-stage certifiers share, tested with the simplest of them."""

import math

import pytest

from dmaelab.certifiers import ABSTAIN, Case, Cohen, Sequential
from dmaelab.certifiers.two_stage import TwoStage
from dmaelab.stats.geometry import GaussianL2
from dmaelab.utils.errors import UserError


def test_the_two_radii_abstain_each_for_itself(drive):
    case = Case(3, GaussianL2(), 0.25)
    only_two_sided = drive(Cohen(100, 10_000), case, selection=[90, 5, 5, 0], estimation=[4500, 2750, 2750, 0])
    assert only_two_sided.prediction == ABSTAIN
    assert only_two_sided.radius_two_sided > 0
    neither = drive(Cohen(100, 10_000), case, selection=[90, 5, 5, 0], estimation=[4500, 4500, 1000, 0])
    assert (neither.prediction, neither.radius_two_sided) == (ABSTAIN, 0.0)


def test_a_wrong_class_can_be_skipped_by_its_label(drive):
    certifier = Cohen(100, 1000, skip_wrong=True)
    wrong, right = Case(2, GaussianL2(), 0.25, label=1), Case(2, GaussianL2(), 0.25, label=0)
    skipped = drive(certifier, wrong, selection=[90, 10, 0])
    assert (skipped.prediction, skipped.radius, skipped.n, skipped.samples, skipped.stop_reason) == (
        0,
        0.0,
        0,
        100,
        "wrong_class",
    )
    assert math.isnan(skipped.p_lower)
    assert drive(certifier, right, selection=[90, 10, 0], estimation=[1000, 0, 0]).radius > 0
    with pytest.raises(UserError, match="skip_wrong needs the label"):
        certifier.check(Case(2, GaussianL2(), 0.25))


@pytest.mark.parametrize(
    ("options", "words"), [({"weight": 1.0}, "weight is 1.0"), ({"skip_wrong": "yes"}, "skip_wrong is 'yes'")]
)
def test_bad_options_are_one_line(options, words):
    with pytest.raises(UserError, match=words):
        Cohen(**options)


def test_a_two_stage_certifier_must_define_estimate(drive):
    with pytest.raises(NotImplementedError, match=r"TwoStage must define estimate\(case, top\)"):
        drive(TwoStage(100, 1000), Case(2, GaussianL2(), 0.25), selection=[90, 10, 0])


def test_a_radius_that_was_given_up_is_unknown_and_not_zero(drive):
    """A coin flip: the sequential certifier stops at its first look, before the two-sided radius is known."""
    certifier, case = Sequential(100, 100_000, radii=[0.5]), Case(3, GaussianL2(), 0.25)
    certificate = drive(certifier, case, selection=[40, 30, 30, 0], estimation=[40, 30, 30, 0])
    assert (certificate.prediction, certificate.stop_reason, certificate.n) == (ABSTAIN, "futile", 100)
    assert math.isnan(certificate.radius_two_sided)
