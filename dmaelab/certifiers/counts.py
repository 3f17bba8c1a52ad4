"""Helpers for certifiers that read vote counts, int64 ``[num_classes + 1]``: the top class and its runner-up."""

import numpy as np


def select(counts: np.ndarray) -> int:
    """Return the class with the most votes, the lowest one on ties; non-finite outputs are never selected."""
    return int(counts[:-1].argmax())


def runner_up(counts: np.ndarray, top: int) -> tuple[int, int]:
    """Return the class with the most votes apart from ``top``, and its votes.

    Non-finite outputs count as the class ``num_classes``. If they were dropped, the bound of the other classes would
    be too low.
    """
    others = counts.copy()
    others[top] = -1
    second = int(others.argmax())
    return second, int(counts[second])
