import numpy as np
import pytest

from dmaelab.certifiers import Case
from dmaelab.certifiers.case import sampled_sigma
from dmaelab.stats.geometry import GaussianL2


def test_case_takes_tau_off_every_bound():
    plain, tight = Case(2, GaussianL2(), 0.5), Case(2, GaussianL2(), 0.5, tau=0.01)
    assert tight.radius(0.9) == pytest.approx(plain.radius(0.89))
    assert tight.radius(0.9, 0.05) == pytest.approx(plain.radius(0.89, 0.06))
    assert tight.needed(0.3) == pytest.approx(plain.needed(0.3) + 0.01)
    assert plain.radius(plain.needed(0.3)) == pytest.approx(0.3)
    # an upper bound above 1 - p_lower says nothing new
    assert plain.radius(0.9, 0.5) == pytest.approx(plain.radius(0.9))


def test_a_case_without_random_numbers_says_so():
    with pytest.raises(RuntimeError, match="without random numbers"):
        Case(2, GaussianL2(), 0.5).random("order")
    assert Case(2, GaussianL2(), 0.5, random=lambda name: f"numbers of {name}").random("order") == "numbers of order"


@pytest.mark.parametrize("sigma", [0.1, 0.25, 0.3, 0.7])
def test_the_level_of_the_noise_is_never_above_the_one_that_was_sampled(sigma):
    """The noise is scaled in float32, which rounds 0.1 and 0.3 up, and 0.7 down."""
    assert sampled_sigma(sigma) <= min(sigma, float(np.float32(sigma)))
    assert sampled_sigma(sigma) == pytest.approx(sigma, rel=1e-7)
