import json
from pathlib import Path

import pytest
from scipy.stats import beta, binom, norm

from dmaelab.certifiers import ABSTAIN, Case, Cohen
from dmaelab.stats.bounds import clopper_pearson_upper as binomial_upper
from dmaelab.stats.geometry import GaussianL2

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_radii.json").read_text())
TWO_SIDED = json.loads((Path(__file__).parents[1] / "data" / "golden_sequential.json").read_text())["two_sided"]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: f"{g['nA']}of{g['n']}-{g['alpha']}-{g['sigma']}")
def test_radii_equal_the_golden_ones_and_are_never_above(golden, drive):
    case = Case(2, GaussianL2(), golden["sigma"])
    certifier = Cohen(n0=100, n=golden["n"], alpha=golden["alpha"])
    certificate = drive(
        certifier, case, selection=[100, 0, 0], estimation=[golden["nA"], golden["n"] - golden["nA"], 0]
    )
    assert certificate.p_lower == pytest.approx(float(golden["pA_lower"]), abs=1e-11)
    assert (certificate.prediction == ABSTAIN) is golden["abstain"]
    assert certificate.radius == pytest.approx(float(golden["radius"]), abs=1e-8)
    assert certificate.radius <= float(golden["radius"])


def test_columns_of_the_row(drive):
    certificate = drive(
        Cohen(100, 1000, 0.001), Case(3, GaussianL2(), 0.25), selection=[20, 70, 10, 0], estimation=[30, 900, 50, 20]
    )
    values = {column: certificate.column(column) for column in Cohen.columns}
    assert values["top"] == 1
    assert (values["count_a"], values["count_b"], values["runner_up"]) == (900, 50, 2)
    assert (values["n"], values["n0"], values["samples"], values["look_a"]) == (1000, 100, 1100, "900/1000")
    assert values["radius_full"] == certificate.radius == pytest.approx(0.25 * 1.1, abs=0.06)
    assert (values["look_b"], values["stop_reason"]) == ("50/1000", "n")
    assert values["p_upper"] == pytest.approx(binomial_upper(50, 1000, 0.0001), abs=1e-9)
    two_sided = 0.125 * (norm.ppf(beta.ppf(0.0009, 900, 101)) - norm.ppf(values["p_upper"]))
    assert values["radius_two_sided"] == pytest.approx(two_sided, abs=1e-9)
    assert values["radius_two_sided"] > values["radius_full"]


@pytest.mark.parametrize("golden", TWO_SIDED, ids=lambda g: f"{g['nA']}-{g['nB']}of{g['n']}-{g['w']}")
def test_two_sided_radii_equal_the_golden_ones(golden, drive):
    n, rest = golden["n"], golden["n"] - golden["nA"] - golden["nB"]
    classes = 2 + -(-rest // max(golden["nB"], 1))  # the others get at most as many votes as the runner-up
    others = [min(golden["nB"], max(0, rest - k * golden["nB"])) for k in range(classes - 2)]
    certifier = Cohen(100, n, golden["alpha"], weight=golden["w"])
    counts = [golden["nA"], golden["nB"], *others, 0]
    certificate = drive(certifier, Case(classes, GaussianL2(), 1.0), selection=[100, *[0] * classes], estimation=counts)
    assert certificate.radius_two_sided == pytest.approx(max(golden["radius_over_sigma"], 0), abs=1e-8)


def test_the_class_comes_from_the_selection_sample_only(drive):
    certificate = drive(
        Cohen(100, 1000, 0.001), Case(2, GaussianL2(), 0.25), selection=[51, 49, 0], estimation=[0, 1000, 0]
    )
    assert (certificate.prediction, certificate.radius, certificate.top) == (ABSTAIN, 0.0, 0)


def test_non_finite_outputs_are_never_the_class_and_never_dropped(drive):
    case, certifier = Case(2, GaussianL2(), 0.25), Cohen(100, 1000, 0.001)
    broken = drive(certifier, case, selection=[0, 1, 99], estimation=[0, 1, 999])
    assert (broken.prediction, broken.top, broken.runner_up, broken.count_b) == (ABSTAIN, 1, 2, 999)
    partly = drive(certifier, case, selection=[90, 0, 10], estimation=[900, 0, 100])
    assert partly.p_lower == drive(certifier, case, selection=[100, 0, 0], estimation=[900, 100, 0]).p_lower


@pytest.mark.parametrize("p", [0.5, 0.55, 0.7, 0.9, 0.99])
def test_wrong_certificates_are_rarer_than_alpha(p, drive):
    """Exact, two classes: all outcomes of both samples, weighted by their probabilities."""
    n0, n, alpha = 5, 50, 0.05
    case, certifier = Case(2, GaussianL2(), 0.25), Cohen(n0, n, alpha)
    wrong = 0.0
    for top, p_top in ((0, p), (1, 1 - p)):
        selected = binom.sf(n0 // 2, n0, p_top)
        for count in range(n + 1):
            estimation = [count, n - count, 0] if top == 0 else [n - count, count, 0]
            selection = [n0, 0, 0] if top == 0 else [0, n0, 0]
            prediction, radius = drive(certifier, case, selection=selection, estimation=estimation)
            if prediction != ABSTAIN and radius > case.radius(p_top):
                wrong += selected * binom.pmf(count, n, p_top)
    assert 0 < wrong <= alpha
