import json
import math
from pathlib import Path

import pytest
from scipy import stats

from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.geometry import GaussianL2, UniformL1

RADII = json.loads((Path(__file__).parents[1] / "data" / "golden_radii.json").read_text())


@pytest.mark.parametrize("golden", RADII, ids=lambda g: f"{g['nA']}of{g['n']}")
def test_counts_give_the_golden_radius_and_never_more(golden):
    radius = GaussianL2().radius(golden["sigma"], clopper_pearson_lower(golden["nA"], golden["n"], golden["alpha"]))
    assert (radius < 0) == golden["abstain"]
    if not golden["abstain"]:
        assert radius == pytest.approx(golden["radius_float64"], abs=1e-8, rel=0)
        assert radius <= golden["radius_float64"]


def test_gaussian_two_sided_radius():
    geometry = GaussianL2()
    expected = 0.25 / 2 * (stats.norm.ppf(0.9) - stats.norm.ppf(0.05))
    assert geometry.radius(0.25, 0.9, 0.05) == pytest.approx(expected, rel=1e-12)
    assert geometry.radius(0.25, 0.9, 0.1) == pytest.approx(geometry.radius(0.25, 0.9), rel=1e-12)
    assert geometry.radius(0.25, 0.4, 0.1) > 0 > geometry.radius(0.25, 0.4)
    assert geometry.radius(0.25, 0.5) == 0


def test_gaussian_limits():
    assert GaussianL2().radius(0.5, 0.0) == -math.inf
    assert GaussianL2().radius(0.5, 1.0) == math.inf


@pytest.mark.parametrize("geometry", [GaussianL2(), UniformL1()], ids=["gaussian", "uniform"])
@pytest.mark.parametrize("sigma", [0.12, 1.0])
def test_needed_is_the_inverse_of_radius(geometry, sigma):
    for radius in (0.0, 0.05, 0.2):
        assert geometry.radius(sigma, geometry.needed(sigma, radius)) == pytest.approx(radius, abs=1e-12)


def test_uniform_radius_is_exact_for_a_threshold_on_one_coordinate():
    # f(x) = [x > 0] of one number: p(x) = (lam + x) / (2 lam), so the true distance of the boundary is x.
    sigma = 0.25
    half_width = math.sqrt(3) * sigma
    for distance in (0.01, 0.3):
        p = (half_width + distance) / (2 * half_width)
        assert UniformL1().radius(sigma, p) == pytest.approx(distance, abs=1e-12)
    assert UniformL1().radius(sigma, 0.45) < 0
    assert UniformL1().radius(sigma, 0.45, 0.2) == pytest.approx(half_width * 0.25)


def test_bounds_are_taken_without_total_variation_unless_a_geometry_says_so():
    assert GaussianL2().tau(0.25, 3072) == 0
