"""What sequential certification saves on the class probabilities behind public logs, by the code of the benchmark."""

import importlib.util
from pathlib import Path

import pytest

from dmaelab.records.readers import read_log

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "tests" / "data" / "certify_logs"
IMAGENET = "locuslab__smoothing__data__certify__imagenet__resnet50__noise_{0}__test__sigma_{0}.tsv"
LEAST = {"0.5 sigma": 20, "1 sigma": 20, "1.5 sigma": 20, "2 sigma": 20, "3 sigma": 8, "grid of the paper": 5}
LEAST_GRID = {0.25: 6, 0.5: 2.5, 1.0: 2.5}

_spec = importlib.util.spec_from_file_location("adaptive", ROOT / "benchmarks" / "adaptive.py")
adaptive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(adaptive)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.25, 0.5, 1.0])
def test_samples_saved_and_accuracy_kept(sigma):
    log = read_log(LOGS / IMAGENET.format(f"{sigma:.2f}"))
    for name, radii in adaptive.wanted(sigma).items():
        result = adaptive.simulate(log, sigma, 0.4, radii, repeats=20)
        assert result["saving"] >= LEAST.get(name, LEAST_GRID[sigma]), name
        assert result["change"] <= 0.2, name


def test_probabilities_give_back_the_radii_of_the_log():
    log = read_log(LOGS / IMAGENET.format("1.00"))
    p = adaptive.probabilities(log, 1.0, 0.4)
    assert (p[log.prediction < 0] == 0.4).all()
    certified = log.prediction >= 0
    assert (p[certified] > 0.5).all()
    assert (p[certified] <= 1).all()
    assert p[certified].argmax() == log.radius[certified].argmax()
