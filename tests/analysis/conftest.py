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
