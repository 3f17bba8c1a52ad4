from pathlib import Path

import numpy as np
import pytest

from dmaelab.records.readers import Log


@pytest.fixture
def make_log():
    """Make a log in memory from (label, prediction, radius) of each image."""

    def make(*rows, path="hand/made.tsv", header=None, **extra):
        label, prediction, radius = (np.array(column) for column in zip(*rows, strict=True))
        correct = (prediction >= 0) & (prediction == label)
        extra = {name: np.array(values) for name, values in extra.items()}
        return Log(Path(path), np.arange(len(rows)), label, prediction, radius, correct, np.zeros(len(rows)), extra, header)

    return make
