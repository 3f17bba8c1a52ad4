import math

import numpy as np
import pytest

from dmaelab.analysis.views import in_norm, parse_shape, two_sided
from dmaelab.utils.errors import UserError


def test_two_sided_radii_take_the_selected_class_or_abstain(make_log):
    rows = [(0, 0, 0.1), (0, -1, 0.0), (0, 0, 0.2), (1, -1, 0.0)]
    log = two_sided(make_log(*rows, top=[0, 0, 0, 2], radius_two_sided=[0.3, 0.4, 0.0, 0.5]))
    assert log.prediction.tolist() == [0, 0, -1, 2]
    assert log.radius.tolist() == [0.3, 0.4, 0.0, 0.5]
    assert log.correct.tolist() == [True, True, False, False]
    assert log.radius_column == "radius_two_sided"


def test_images_that_were_skipped_by_their_label_stay_wrong(make_log):
    extra = {"top": [0, 1], "radius_two_sided": [0.3, math.nan], "stop_reason": ["n", "wrong_class"]}
    log = two_sided(make_log((0, 0, 0.1), (0, 1, 0.0), **extra))
    assert log.prediction.tolist() == [0, 1]
    assert log.radius.tolist() == [0.3, 0.0]
    assert log.correct.tolist() == [True, False]


def test_a_log_without_two_sided_radii_is_named(make_log):
    with pytest.raises(UserError, match=r"hand/made\.tsv has no two-sided radii"):
        two_sided(make_log((0, 0, 0.1)))
    with pytest.raises(UserError, match=r"hand/made\.tsv has no two-sided radius in 1 of its 2 rows"):
        two_sided(make_log((0, 0, 0.1), (0, 0, 0.1), top=[0, 0], radius_two_sided=[0.3, math.nan]))


def test_l2_radii_of_foreign_logs_in_other_norms(make_log):
    log = make_log((0, 0, 1.2), (0, -1, 0.0), (0, 1, 1.8))
    assert in_norm(log, "l2") is log
    assert in_norm(log, "l1", (1, 6, 6)).radius.tolist() == [1.2, 0, 1.8]
    assert in_norm(log, "linf", (1, 6, 6)).radius == pytest.approx([0.2, 0, 0.3])
    assert in_norm(log, "l0", (1, 6, 6)).radius.tolist() == [1, 0, 3]
    assert in_norm(log, "l0", (1, 6, 6)).norm == "l0"
    assert in_norm(log, "l1").radius.tolist() == [1.2, 0, 1.8]  # of any shape
    with pytest.raises(UserError, match=r"hand/made\.tsv does not say what shape .* --shape"):
        in_norm(log, "linf")
    with pytest.raises(ValueError, match="is converted already, from l2 to l0"):
        in_norm(in_norm(log, "l0", (1, 6, 6)), "l1", (1, 6, 6))


def test_the_headers_noise_and_shape_convert(make_log):
    identity = {"norm": "l1", "geometry": "dmaelab.stats.geometry.UniformL1", "sigma": 0.5, "shape": [1, 4, 4]}
    log = in_norm(make_log((0, 0, 0.4), (0, 0, 0.8), header={"identity": identity}), "linf", (3, 224, 224))
    width = math.sqrt(3) * 0.5
    expected = [2 * width * (1 - (1 - radius / (2 * width)) ** (1 / 16)) for radius in (0.4, 0.8)]
    assert log.radius == pytest.approx(expected)
    assert np.all(log.radius > np.array([0.4, 0.8]) / 16)


def test_a_header_without_geometry_tells_only_for_l2(make_log):
    shape = {"shape": [1, 6, 6]}
    assert in_norm(make_log((0, 0, 1.2), header={"identity": {"norm": "l2", **shape}}), "linf").radius == pytest.approx(
        [0.2]
    )
    with pytest.raises(UserError, match=r"header of hand/made\.tsv names no geometry"):
        in_norm(make_log((0, 0, 1.2), header={"identity": {"norm": "l1", **shape}}), "linf")


@pytest.mark.parametrize("text", ["3x32", "32", "3x32x32x1", "3x0x32", "axbxc", "3X32X32", "-3x32x32", ""])
def test_shapes(text):
    assert parse_shape("3x32x32") == (3, 32, 32)
    assert parse_shape(None) is None
    with pytest.raises(UserError, match="such as 3x32x32"):
        parse_shape(text)
