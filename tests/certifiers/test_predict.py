import json
from pathlib import Path

import pytest

from dmaelab.certifiers import ABSTAIN, Case, Predict
from dmaelab.stats.geometry import GaussianL2

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_predict.json").read_text())
CASE = Case(2, GaussianL2(), 0.25)


@pytest.mark.parametrize(
    "golden", [g for g in GOLDEN if g["count1"] + g["count2"] >= 11], ids=lambda g: f"{g['count1']}-{g['count2']}"
)
def test_golden_p_values(golden, drive):
    count1, count2 = golden["count1"], golden["count2"]
    certificate = drive(Predict(count1 + count2, golden["alpha"]), CASE, prediction=[count2, count1, 0])
    assert certificate.p_value == pytest.approx(golden["pvalue"], rel=1e-9, abs=1e-12)
    assert (certificate.prediction == ABSTAIN) is golden["abstain"]
    assert certificate.radius == 0


def test_columns_of_the_row(drive):
    certificate = drive(Predict(100, 0.001), CASE, prediction=[10, 90, 0])
    values = {column: certificate.column(column) for column in Predict.columns}
    assert (values["top"], values["count_a"], values["n"], values["count_b"], values["runner_up"]) == (
        1,
        90,
        100,
        10,
        0,
    )


def test_non_finite_outputs_are_never_the_class(drive):
    assert drive(Predict(100, 0.001), CASE, prediction=[10, 0, 90]).prediction == ABSTAIN
    assert drive(Predict(100, 0.001), CASE, prediction=[0, 0, 100]).prediction == ABSTAIN
    assert drive(Predict(100, 0.001), CASE, prediction=[60, 0, 40]).prediction == ABSTAIN
    assert drive(Predict(100, 0.001), CASE, prediction=[90, 0, 10]).prediction == 0
