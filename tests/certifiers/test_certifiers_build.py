import math

import numpy as np
import pytest

from dmaelab.certifiers import CERTIFIERS, Case, Certificate, Certifier
from dmaelab.certifiers.counts import runner_up, select
from dmaelab.smoothing import build_certifier
from dmaelab.stats.geometry import GaussianL2
from dmaelab.utils.errors import UserError


def test_certificate_unpacks_into_prediction_and_radius():
    certificate = Certificate(prediction=3, radius=0.5, top=3, n=100, n0=10)
    prediction, radius = certificate
    assert (prediction, radius) == (3, 0.5)
    assert certificate.samples == 110
    assert certificate.column("radius_full") == 0.5
    assert math.isnan(certificate.column("p_lower"))


def test_columns_of_a_plug_in_come_from_extra():
    assert Certificate(prediction=0, top=0, n=1, extra={"margin": 7}).column("margin") == 7


def test_registry_names_and_unknown_name():
    assert {"cohen", "predict"} <= set(CERTIFIERS.names())
    assert build_certifier("cohen", n=1000).n == 1000
    with pytest.raises(UserError, match="did you mean 'cohen'"):
        build_certifier("cohne")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n0": 0}, "n0 is 0"),
        ({"n": 0}, "n is 0"),
        ({"n": 10.5}, "n is 10.5"),
        ({"n": True}, "n is True"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"alpha": 1.0}, "alpha is 1"),
        ({"alpha": math.nan}, "alpha is nan"),
    ],
)
def test_bad_options_are_one_line(options, words):
    with pytest.raises(UserError, match=words) as caught:
        build_certifier("cohen", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cohen", "predict", "sequential"])
def test_too_few_samples_are_refused_with_the_least_that_could(name, drive):
    with pytest.raises(
        UserError, match=r"can never certify at alpha=0.001: every image would abstain; use n >= "
    ) as caught:
        build_certifier(name, n=5, alpha=0.001)
    least = int(str(caught.value).split(">=")[1])
    votes = {"selection": [100, 0, 0], "estimation": [least, 0, 0], "prediction": [least, 0, 0]}
    assert drive(build_certifier(name, n=least, alpha=0.001), Case(2, GaussianL2(), 0.25), **votes).prediction == 0
    with pytest.raises(UserError, match="can never certify"):
        build_certifier(name, n=least - 1, alpha=0.001)


def test_case_takes_tau_off_every_bound():
    plain, tight = Case(2, GaussianL2(), 0.5), Case(2, GaussianL2(), 0.5, tau=0.01)
    assert tight.radius(0.9) == pytest.approx(plain.radius(0.89))
    assert tight.radius(0.9, 0.05) == pytest.approx(plain.radius(0.89, 0.06))
    assert tight.needed(0.3) == pytest.approx(plain.needed(0.3) + 0.01)
    assert plain.radius(plain.needed(0.3)) == pytest.approx(0.3)
    # an upper bound above 1 - p_lower says nothing new
    assert plain.radius(0.9, 0.5) == pytest.approx(plain.radius(0.9))


def test_select_and_runner_up():
    assert select(np.array([5, 5, 3, 90])) == 0  # lowest index on ties, never the non-finite outputs
    assert runner_up(np.array([5, 5, 3, 0]), 0) == (1, 5)
    assert runner_up(np.array([5, 5, 3, 90]), 0) == (3, 90)
    assert runner_up(np.array([9, 0, 0, 0]), 0) == (1, 0)


def test_a_certifier_must_write_certify():
    with pytest.raises(NotImplementedError, match="Nothing must define certify"):
        type("Nothing", (Certifier,), {})().certify(None)
