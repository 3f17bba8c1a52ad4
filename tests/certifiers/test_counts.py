import numpy as np

from dmaelab.certifiers.counts import runner_up, select


def test_select_and_runner_up():
    assert select(np.array([5, 5, 3, 90])) == 0  # lowest index on ties, never the non-finite outputs
    assert runner_up(np.array([5, 5, 3, 0]), 0) == (1, 5)
    assert runner_up(np.array([5, 5, 3, 90]), 0) == (3, 90)
    assert runner_up(np.array([9, 0, 0, 0]), 0) == (1, 0)
