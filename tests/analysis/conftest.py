from pathlib import Path

import numpy as np
import pytest

from dmaelab.records.readers import Log


@pytest.fixture
def make_log():
    """Make a log in memory from (label, prediction, radius) of each image."""

    def make(*rows, path="hand/made.tsv", header=None, index=None, **extra):
        label, prediction, radius = (np.array(column) for column in zip(*rows, strict=True))
        index = np.arange(len(rows)) if index is None else np.array(index)
        correct = (prediction >= 0) & (prediction == label)
        extra = {name: np.array(values) for name, values in extra.items()}
        norm = header["identity"].get("norm", "l2") if header else "l2"
        return Log(Path(path), index, label, prediction, radius, correct, np.zeros(len(rows)), extra, header, norm)

    return make


@pytest.fixture
def measured(make_log):
    """Make a log with a header: of 10 images, as many certified as given at radius 0, 0.5, 1, ... in this order."""

    def make(
        path, certified, eval_sigma=0.5, *, n=10_000, n0=100, alpha=0.001, index=None, identity=None, run=None, **labels
    ):
        radii = [0.5 * sum(rank < count for count in certified) - 0.25 for rank in range(10)]
        rows = [(1, 1 if radius > 0 else 2, max(radius, 0.0)) for radius in radii]
        settings = {"norm": "l2", "sigma": eval_sigma, "n": n, "n0": n0, "alpha": alpha, **(identity or {})}
        return make_log(
            *rows, path=path, index=index, header={"identity": settings, "context": {"labels": labels, "run": run}}
        )

    return make
