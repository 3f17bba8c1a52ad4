import functools
import importlib
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.geometry import (
    NORMS,
    GaussianL2,
    Geometry,
    LaplaceL1,
    QuantisedGaussianL2,
    UniformL1,
    geometry_name,
    geometry_named,
)
from dmaelab.utils.errors import UserError

RADII = json.loads((Path(__file__).parents[1] / "data" / "golden_radii.json").read_text())
GEOMETRIES = [GaussianL2(), QuantisedGaussianL2(), UniformL1(), LaplaceL1()]
L1 = [UniformL1(), LaplaceL1()]
SHAPE = (3, 32, 32)


def name_of(value):
    return type(value).__name__ if isinstance(value, Geometry) else None


every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=name_of)


# ---------------------------------------------------------------- radii


@pytest.mark.parametrize("golden", RADII, ids=lambda g: f"{g['nA']}of{g['n']}")
def test_counts_give_the_golden_radius_and_never_more(golden):
    radius = GaussianL2().radius(golden["sigma"], clopper_pearson_lower(golden["nA"], golden["n"], golden["alpha"]))
    assert (radius < 0) == golden["abstain"]
    if not golden["abstain"]:
        assert radius == pytest.approx(golden["radius_float64"], abs=1e-8, rel=0)
        assert radius <= golden["radius_float64"]


@pytest.mark.parametrize(
    ("geometry", "radii"),
    [
        (GaussianL2(), [0.127, 0.421, 0.641, 1.163, 1.545]),
        (UniformL1(), [0.173, 0.520, 0.693, 0.849, 0.864]),
        (LaplaceL1(), [0.079, 0.324, 0.569, 1.383, 2.197]),
    ],
    ids=name_of,
)
def test_table_of_l1_radii_at_sigma_one_half(geometry, radii):
    found = [geometry.converted(geometry.radius(0.5, p), "l1", 0.5, SHAPE) for p in (0.6, 0.8, 0.9, 0.99, 0.999)]
    assert found == pytest.approx(radii, abs=6e-4)


def test_gaussian_two_sided_radius():
    geometry = GaussianL2()
    expected = 0.25 / 2 * (stats.norm.ppf(0.9) - stats.norm.ppf(0.05))
    assert geometry.radius(0.25, 0.9, 0.05) == pytest.approx(expected, rel=1e-12)
    assert geometry.radius(0.25, 0.9, 0.1) == pytest.approx(geometry.radius(0.25, 0.9), rel=1e-12)
    assert geometry.radius(0.25, 0.4, 0.1) > 0 > geometry.radius(0.25, 0.4)
    assert geometry.radius(0.25, 0.5) == 0


def test_laplace_two_sided_radius():
    scale = 0.25 / math.sqrt(2)
    assert LaplaceL1().radius(0.25, 0.3, 0.02) == pytest.approx(
        scale / 2 * math.log(15)
    )  # here the ratio is the better term
    assert LaplaceL1().radius(0.25, 0.9, 0.05) == pytest.approx(-scale * math.log(0.15))  # and here the difference
    assert LaplaceL1().radius(1, 0.9, 0.02) == pytest.approx(2.120 / math.sqrt(2), abs=1e-3)
    assert LaplaceL1().radius(0.25, 0.2, 0.2) == 0
    assert LaplaceL1().radius(0.25, 0.2, 0.3) < 0


def test_uniform_two_sided_radius():
    assert UniformL1().radius(0.25, 0.45, 0.2) == pytest.approx(math.sqrt(3) * 0.25 * 0.25)
    assert UniformL1().radius(0.25, 0.2, 0.3) < 0


def test_limits():
    assert GaussianL2().radius(0.5, 0.0) == -math.inf
    assert GaussianL2().radius(0.5, 1.0) == math.inf
    laplace = LaplaceL1()
    assert laplace.radius(0.5, 0.0) == pytest.approx(-0.5 / math.sqrt(2) * math.log(2))
    assert laplace.radius(0.5, 1.0) == laplace.radius(0.5, 1.0, 0.0) == laplace.radius(0.5, 0.1, 0.0) == math.inf
    assert laplace.radius(0.5, 0.0, 0.0) == 0
    assert laplace.radius(0.5, -1e-6, 0.5) < 0 > laplace.radius(0.5, -1e-6)  # a bound of 0 less tau
    assert laplace.radius(0.5, 0.0, 1.0) < 0
    assert laplace.radius(0.5, 0.9, 5e-324) < math.inf


@every_geometry
@pytest.mark.parametrize("sigma", [0.12, 1.0])
def test_needed_is_the_inverse_of_radius(geometry, sigma):
    for radius in (0.0, 0.05, 0.2):
        assert geometry.radius(sigma, geometry.needed(sigma, radius)) == pytest.approx(radius, abs=1e-12)
    for p in (0.5, 0.7, 0.999):
        assert geometry.needed(sigma, geometry.radius(sigma, p)) == pytest.approx(p, abs=1e-12)


@every_geometry
def test_radii_grow_with_p_lower_and_sigma_and_shrink_with_p_upper(geometry):
    levels = np.linspace(0.501, 0.999, 60)
    one_sided, two_sided = ([geometry.radius(0.25, p, *upper) for p in levels] for upper in ([], [0.001]))
    for radii in (one_sided, two_sided):
        assert all(a < b for a, b in itertools.pairwise(radii))
    uppers = [geometry.radius(0.25, 0.6, p) for p in np.linspace(0.001, 0.4, 60)]
    assert all(a > b for a, b in itertools.pairwise(uppers))
    assert all(
        geometry.radius(0.5, p) == pytest.approx(2 * radius) for p, radius in zip(levels, one_sided, strict=True)
    )


# ---------------------------------------------------------------- classifiers that reach the radius


def test_two_halfspaces_reach_the_gaussian_radius():
    # Class A below a and class B above b of one coordinate: after a shift by the radius they are equally likely.
    sigma, a, b = 0.25, 0.2, 0.5
    radius = GaussianL2().radius(sigma, stats.norm.cdf(a / sigma), stats.norm.sf(b / sigma))
    assert stats.norm.cdf((a - radius) / sigma) == pytest.approx(stats.norm.sf((b - radius) / sigma), rel=1e-9)


@pytest.mark.parametrize(
    ("geometry", "law"),
    [
        (UniformL1(), stats.uniform(-math.sqrt(3) / 4, math.sqrt(3) / 2)),
        (LaplaceL1(), stats.laplace(scale=0.25 / math.sqrt(2))),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("distance", [0.01, 0.3])
def test_a_threshold_on_one_coordinate_reaches_the_l1_radius(geometry, law, distance):
    # f(x) = [x < t] has p(0) = F(t), and p = 1/2 at the distance t.
    assert law.std() == pytest.approx(0.25)
    assert geometry.radius(0.25, law.cdf(distance)) == pytest.approx(distance, abs=1e-12)


# ---------------------------------------------------------------- the worst classifier of all (Neyman-Pearson)


def worst_margin(law, kinks, shift, p_lower, p_upper):
    """Return the smallest P(A) - P(B) after ``shift`` of classifiers with P(A) = p_lower and P(B) = p_upper before it.

    By the lemma of Neyman and Pearson A has the smallest likelihood ratios and B the largest. Space is
    cut into cells, finest in one dimension, at least at the kinks of the ratio; where the ratio varies
    inside a cell the result is a little too large.
    """
    count = {1: 4000, 2: 200, 3: 50}[len(shift)]
    grid = np.linspace(law.ppf(1e-9), law.ppf(1 - 1e-9), count)
    edges = [np.unique([-np.inf, *grid, *kinks, *(kinks + move), np.inf]) for move in shift]
    before = functools.reduce(np.multiply.outer, [np.diff(law.cdf(e)) for e in edges]).ravel()
    after = functools.reduce(
        np.multiply.outer, [np.diff(law.cdf(e - move)) for e, move in zip(edges, shift, strict=True)]
    ).ravel()
    ratio = np.divide(after, before, out=np.full_like(before, np.inf), where=before > 0)
    order = np.argsort(ratio)
    levels, masses = (np.concatenate([[0], np.cumsum(mass[order])]) for mass in (before, after))
    below, above = np.interp([p_lower, 1 - p_upper], levels, masses)
    return below - (masses[-1] - above)


def law_of(geometry, sigma):
    half_width = math.sqrt(3) * sigma
    if isinstance(geometry, UniformL1):
        return stats.uniform(-half_width, 2 * half_width), np.array([-half_width, half_width])
    return stats.laplace(scale=sigma / math.sqrt(2)), np.array([0.0])


def shifts_of(norm, radius, dims):
    """Shifts of this norm: along one axis, along the diagonal, and others."""
    directions = [np.eye(dims)[0], np.ones(dims), np.arange(1.0, dims + 1), np.array([1.0, 0.1, 0.5])[:dims]]
    order = 1 if norm == "l1" else np.inf
    return [radius * direction / np.linalg.norm(direction, order) for direction in directions]


@pytest.mark.parametrize("geometry", L1, ids=name_of)
@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("bounds", [(0.51, 0.49), (0.7, 0.3), (0.95, 0.05), (0.6, 0.1), (0.3, 0.05)])
def test_no_classifier_changes_its_class_inside_the_ball(geometry, norm, dims, bounds):
    sigma = 0.5
    radius = geometry.converted(geometry.radius(sigma, *bounds), norm, sigma, (1, 1, dims))
    assert radius > 0
    law, kinks = law_of(geometry, sigma)
    for shift in shifts_of(norm, radius, dims):
        assert worst_margin(law, kinks, shift, *bounds) > -1e-7, shift


@pytest.mark.parametrize("geometry", L1, ids=name_of)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_just_outside_the_l1_ball_one_does(geometry, dims):
    law, kinks = law_of(geometry, 0.5)
    shift = 1.05 * geometry.radius(0.5, 0.7) * np.eye(dims)[0]
    assert worst_margin(law, kinks, shift, 0.7, 0.3) < -0.01


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("bounds", [(0.7, 0.3), (0.6, 0.1)])
def test_the_linf_radius_of_uniform_noise_is_the_largest(dims, bounds):
    geometry, sigma = UniformL1(), 0.5
    law, kinks = law_of(geometry, sigma)
    radius = geometry.converted(geometry.radius(sigma, *bounds), "linf", sigma, (dims, 1, 1))
    assert worst_margin(law, kinks, np.full(dims, radius), *bounds) == pytest.approx(0, abs=1e-6)
    assert radius >= geometry.radius(sigma, *bounds) / dims - 1e-12


def test_the_normal_approximation_of_laplace_noise_is_no_certificate():
    law, kinks = law_of(LaplaceL1(), 0.5)
    assert worst_margin(law, kinks, np.array([0.5 / math.sqrt(2) * stats.norm.ppf(0.51)]), 0.51, 0.49) < 0


# ---------------------------------------------------------------- other norms


def test_gaussian_conversions():
    geometry = GaussianL2()
    radius = geometry.radius(0.5, 0.99)
    assert geometry.converted(radius, "l2", 0.5, SHAPE) == geometry.converted(radius, "l1", 0.5, SHAPE) == radius
    assert 255 * geometry.converted(radius, "linf", 0.5, SHAPE) == pytest.approx(5.35, abs=5e-3)
    assert 255 * geometry.converted(radius, "linf", 0.5, (3, 224, 224)) == pytest.approx(0.76, abs=5e-3)


def test_l1_conversions():
    for geometry in L1:
        assert geometry.converted(0.8, "l1", 0.5, SHAPE) == 0.8
        assert geometry.converted(0.8, "l2", 0.5, SHAPE) == pytest.approx(0.8 / math.sqrt(3072))
    assert LaplaceL1().converted(0.8, "linf", 0.5, SHAPE) == pytest.approx(0.8 / 3072)
    half_width = math.sqrt(3) * 0.5
    expected = 2 * half_width * (1 - (1.5 - 0.9) ** (1 / 3072))
    assert UniformL1().converted(UniformL1().radius(0.5, 0.9), "linf", 0.5, SHAPE) == pytest.approx(expected, rel=1e-9)
    assert UniformL1().converted(half_width, "linf", 0.5, (1, 1, 1)) == pytest.approx(half_width)
    assert UniformL1().converted(100.0, "linf", 0.5, (1, 1, 1)) == pytest.approx(half_width)  # more than it can certify


@pytest.mark.parametrize(
    ("radius", "changed"),
    [
        (0.0, 0),
        (0.5, 0),
        (1.0, 0),
        (1.001, 1),
        (math.sqrt(2) - 1e-9, 1),
        (2.0, 3),
        (2.001, 4),
        (3.0, 8),
        (-2.0, 0),
        (9e99, 3072),
    ],
)
def test_changed_values_inside_a_gaussian_ball(radius, changed):
    """k values move an image by sqrt(k), which must be less than the radius: at R^2 = 4 that is 3, not 4."""
    assert GaussianL2().converted(radius, "l0", 0.5, SHAPE) == changed


@pytest.mark.parametrize(
    ("radius", "changed"), [(0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (2.5, 2), (-2.0, 0), (math.inf, 3072)]
)
def test_changed_values_inside_an_l1_ball(radius, changed):
    assert LaplaceL1().converted(radius, "l0", 0.5, SHAPE) == UniformL1().converted(radius, "l0", 0.5, SHAPE) == changed


@every_geometry
def test_nothing_certified_is_nothing_in_every_norm(geometry):
    for norm in NORMS:
        assert geometry.converted(0.0, norm, 0.5, SHAPE) == geometry.converted(-0.3, norm, 0.5, SHAPE) == 0
        assert math.isnan(geometry.converted(math.nan, norm, 0.5, SHAPE))


@every_geometry
@pytest.mark.parametrize("norm", NORMS)
def test_unknown_norms(geometry, norm):
    with pytest.raises(UserError, match=r"unknown norm 'lin' \(did you mean 'linf'\?\): one of l2, l1, linf, l0"):
        geometry.converted(1.0, "lin", 0.5, SHAPE)
    other = type("Patches", (Geometry,), {"norm": "patches"})()
    with pytest.raises(UserError, match=f"a radius in patches cannot be converted to {norm}"):
        other.converted(1.0, norm, 0.5, SHAPE)
    assert other.converted(1.0, "patches", 0.5, SHAPE) == 1


def test_an_linf_certificate_converts_too():
    box = type("Box", (Geometry,), {"norm": "linf"})()
    assert [box.converted(0.3, norm, 0.5, SHAPE) for norm in NORMS] == [0.3, 0.3, 0.3, 0]
    assert box.converted(1.5, "l0", 0.5, SHAPE) == 3072


# ---------------------------------------------------------------- what is taken off, and names


def test_only_quantised_noise_survives_floating_point_and_says_at_what_cost():
    assert [geometry.fp_sound for geometry in GEOMETRIES] == [False, True, False, False]
    assert GaussianL2().tau(0.25, 3072) == UniformL1().tau(0.25, 3072) == LaplaceL1().tau(0.25, 3072) == 0
    assert QuantisedGaussianL2().tau(1.0, 3 * 224 * 224) == 1e-6
    assert QuantisedGaussianL2().tau(1.0, 10**7) == pytest.approx(2.55e-5)


@every_geometry
def test_names_lead_back(geometry):
    assert geometry_name(geometry) == f"dmaelab.stats.geometry.{type(geometry).__name__}"
    assert type(geometry_named(geometry_name(geometry))) is type(geometry)


class NeedsAngle(Geometry):
    def __init__(self, angle):
        self.angle = angle


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("dmaelab.stats.geometry.Nothing", "is not known here"),
        ("GaussianL2", "is not known here"),
        ("", "is not known here"),
        (None, "is not known here"),
        (["dmaelab.stats.geometry.GaussianL2"], "is not known here"),
        ("math.pi", "is not known here"),
        ("collections.OrderedDict", "is not known here"),
        (f"{__name__}.NeedsAngle", "needs arguments"),
    ],
)
def test_names_that_lead_nowhere_are_one_clear_line(name, complaint):
    with pytest.raises(UserError, match=complaint) as error:
        geometry_named(name)
    assert "\n" not in str(error.value)


def test_a_name_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "geometry_of_others.py").write_text(
        "from dmaelab.stats.geometry import GaussianL2\nclass Mine(GaussianL2):\n    norm = 'mine'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"'geometry_of_others\.Mine' is not known here"):
        geometry_named("geometry_of_others.Mine")
    assert "geometry_of_others" not in sys.modules
    importlib.import_module("geometry_of_others")
    assert geometry_named("geometry_of_others.Mine").norm == "mine"
