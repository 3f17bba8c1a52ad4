import math

import pytest

from dmaelab.certifiers import Case, Certifier, build_certifier
from dmaelab.stats.geometry import GaussianL2
from dmaelab.utils.errors import UserError


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


def test_a_certifier_must_write_certify():
    with pytest.raises(NotImplementedError, match="Nothing must define certify"):
        type("Nothing", (Certifier,), {})().certify(None)
