from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dmaelab.analysis.compare import align, compare, comparison_text, different_settings, image_rows
from dmaelab.analysis.views import in_norm, two_sided
from dmaelab.records.readers import read_log
from dmaelab.utils.differences import Difference
from dmaelab.utils.errors import UserError

LOGS = Path(__file__).parents[1] / "data" / "certify_logs"
PUBLIC = ("noise_0.25__test__sigma_0.25", "noise_0.50__test__sigma_0.50")


@pytest.fixture
def pair(make_log):
    """Five images: gained, gained a little, lost, equal, right in neither."""
    a = make_log(
        (0, 1, 0.9), (1, 1, 0.3), (2, 2, 0.8), (3, 3, 0.5), (4, -1, 0.0), index=[0, 10, 20, 30, 40], path="a.tsv"
    )
    b = make_log(
        (4, 0, 0.7), (3, 3, 0.5), (2, -1, 0.0), (1, 1, 0.4), (0, 0, 0.6), index=[40, 30, 20, 10, 0], path="b.tsv"
    )
    return a, b


def test_images_are_aligned_by_index(pair):
    a, b = align(*pair)
    assert a.index.tolist() == b.index.tolist() == [0, 10, 20, 30, 40]
    assert b.prediction.tolist() == [0, 1, -1, 3, 0]
    assert b.radius.tolist() == [0.6, 0.4, 0.0, 0.5, 0.7]


def test_figures_of_a_comparison(pair):
    comparison = compare(*align(*pair), radii=(0.0, 0.55, 0.7))
    assert comparison.counts == ((3, 3), (1, 1), (1, 0))
    assert comparison.only == ((1, 1), (1, 1), (1, 0))
    assert comparison.pvalues == (1.0, 1.0, 1.0)
    assert comparison.acr == pytest.approx((0.32, 0.3))
    assert comparison.change == pytest.approx([0.6, 0.1, -0.8, 0, 0])
    assert comparison.order().tolist() == [0, 1, 3, 4, 2]
    low, high = comparison.acr_interval
    assert low < comparison.acr[1] - comparison.acr[0] < high


def test_figures_of_public_logs_agree_with_each_other():
    a, b = (read_log(LOGS / f"locuslab__smoothing__data__certify__cifar10__resnet110__{name}.tsv") for name in PUBLIC)
    comparison = compare(*align(a, b))
    assert comparison.radii == (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75)
    assert len(set(comparison.only)) > 4
    assert [(only_b - only_a) for only_a, only_b in comparison.only] == [y - x for x, y in comparison.counts]
    assert [x / 500 for x, _ in comparison.counts][:4] == [0.748, 0.6, 0.428, 0.266]
    assert comparison.acr == pytest.approx((0.428884, 0.537533), abs=1e-6)


def test_pvalues_are_mcnemars(make_log):
    rows = [(0, 0, 1.0)] * 20 + [(0, 1, 1.0)] * 30
    better = [(0, 0, 1.0)] * 18 + [(0, 1, 1.0)] * 2 + [(0, 0, 1.0)] * 12 + [(0, -1, 0.0)] * 18
    comparison = compare(*align(make_log(*rows), make_log(*better)), radii=(0.5,))
    assert comparison.only == ((2, 12),)
    assert comparison.pvalues[0] == pytest.approx(stats.binomtest(2, 14).pvalue)
    assert comparison.acr_interval[0] > 0


def test_radii_go_as_far_as_any_log(pair):
    assert compare(*align(*pair)).radii == (0, 0.25, 0.5, 0.75)


def test_text_of_a_comparison(pair):
    comparison = compare(*align(*pair))
    text = comparison_text(comparison, images=10)
    assert text.splitlines()[:2] == ["A: a.tsv", "B: b.tsv"]
    assert "ACR: A 0.320, B 0.300, B - A -0.020 [" in text
    assert "certified radius (l2) of 5 images: 2 larger in B, 1 larger in A, 2 equal" in text
    assert "not corrected for their number (4)" in text
    assert "not corrected" not in comparison_text(compare(*align(*pair), radii=(0.5,)))
    gains, losses = text.split("largest gains of B (2):\n")[1].split("largest losses of B (1):\n")
    assert [line.split()[0] for line in gains.splitlines()[2:4]] == ["0", "10"]
    assert losses.splitlines()[2].split() == ["20", "2", "2", "0.800", "1", "-1", "0.000", "0", "-0.800"]
    assert "largest" not in comparison_text(comparison)
    assert "largest gains of B (1)" in comparison_text(comparison, images=1)
    with pytest.raises(UserError, match="--images is -1"):
        comparison_text(comparison, images=-1)


def test_text_names_the_kind_of_radius(make_log):
    log = two_sided(make_log((0, 0, 0.3), (0, 0, 0.4), top=[0, 0], radius_two_sided=[1.2, 0.6]))
    log = in_norm(log, "linf", (1, 6, 6))
    text = comparison_text(compare(*align(log, log)))
    assert text.splitlines()[0] == "A: hand/made.tsv (linf from l2)"
    assert "ACR: A 0.15000, B 0.15000, B - A +0.00000" in text
    assert "certified radius (linf, two-sided) of 2 images" in text


def test_rows_of_all_images_keep_every_digit(make_log):
    a, b = make_log((0, 0, 0.1 + 0.2)), make_log((0, 0, 1 / 3))
    headers, rows = image_rows(compare(*align(a, b)))
    assert headers == [
        "idx",
        "label",
        "predict_a",
        "radius_a",
        "correct_a",
        "predict_b",
        "radius_b",
        "correct_b",
        "change",
    ]
    assert rows == [["0", "0", "0", str(0.1 + 0.2), "1", "0", str(1 / 3), "1", str(1 / 3 - (0.1 + 0.2))]]


def test_other_images_are_counted(make_log):
    a = make_log(*[(0, 0, 1.0)] * 4, index=[0, 1, 2, 3], path="a.tsv")
    b = make_log(*[(0, 0, 1.0)] * 3, index=[2, 3, 4], path="b.tsv")
    message = (
        r"a\.tsv and b\.tsv are not on the same images: 2 of 4 are missing in the second, 1 of 3 in the first; "
        "--common compares the 2 that both have"
    )
    with pytest.raises(UserError, match=message):
        align(a, b)
    assert [log.index.tolist() for log in align(a, b, common=True)] == [[2, 3], [2, 3]]
    with pytest.raises(UserError, match="have no image in common"):
        align(a, make_log((0, 0, 1.0), index=[9]), common=True)


def test_other_labels_are_another_data_set(make_log):
    a, b = make_log((0, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0)), make_log((0, 0, 1.0), (5, 1, 1.0), (6, 2, 1.0))
    with pytest.raises(UserError, match=r"2 of 3 labels differ, first that of image 1 \(1 and 5\)"):
        align(a, b, common=True)


def test_other_norms_are_not_compared(make_log):
    with pytest.raises(UserError, match=r"in l2 and .* in l1: such radii are not comparable, give --norm"):
        align(make_log((0, 0, 1.0)), make_log((0, 0, 1.0), header={"identity": {"norm": "l1"}}))


def test_logs_of_predict_have_nothing_to_compare(make_log):
    answers = make_log((0, 0, 0.0), header={"identity": {"certifier": {"name": "predict"}}}, path="answers")
    with pytest.raises(UserError, match="answers is a log of PREDICT: it has classes but no radii"):
        align(make_log((0, 0, 0.5)), answers)


def test_settings_that_differ_are_named(make_log):
    def log(**identity):
        return make_log((0, 0, 1.0), header={"identity": identity})

    a, b = log(n=1000, n0=100, alpha=0.001, sigma=0.25), log(n=10000, n0=50, alpha=0.001, sigma=0.5)
    assert different_settings(a, b) == [
        Difference("n", 1000, 10000), Difference("n0", 100, 50), Difference("sigma", 0.25, 0.5),
    ]  # fmt: skip
    assert different_settings(log(n=1000), make_log((0, 0, 1.0))) == []


def test_no_radius_at_all_in_either(make_log):
    comparison = compare(*align(make_log((0, 1, 0.0), (0, -1, 0.0)), make_log((0, 0, 0.0), (0, -1, 0.0))))
    assert comparison.radii == (0,)
    assert comparison.only == ((0, 1),)
    assert np.array_equal(comparison.change, [0, 0])
    assert "0 larger in B" in comparison_text(comparison, images=3)


def test_radii_that_a_log_was_not_sampled_for_are_named(make_log):
    header = {"identity": {"norm": "l2", "certifier": {"name": "sequential", "radii": [0.5]}}, "context": {}}
    a, b = make_log((0, 0, 0.6), (0, 0, 0.3)), make_log((0, 0, 0.6), (0, 0, 0.9), header=header)
    words = "not comparable, because A or B did not sample for them: "
    assert f"{words}0.00, 0.25, the ACR and the radius of each image." in comparison_text(
        compare(a, b, [0.0, 0.25, 0.5])
    )
    assert f"{words}the ACR and the radius of each image." in comparison_text(compare(b, b, [0.5]))
    assert "lower bounds" not in comparison_text(compare(a, a, [0.0, 0.25, 0.5]))
