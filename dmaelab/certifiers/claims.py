"""What certifiers share when they verify a row: is a claim more than what follows from the counts?"""

from collections.abc import Mapping
from typing import Any

TOLERANCE = 1e-8
"""By how much a claim may exceed what is computed again, in probabilities and in [0,1] pixel units.

Bounds are computed to about 1e-12 on any machine; a radius grows at most some thousand times as fast.
"""


def too_large(name: str, claim: float, most: float) -> list[str]:
    """Return the problem that the column ``name`` claims more than ``most``, nan included; nothing if it does not."""
    return [] if claim <= most + TOLERANCE else [f"{name} is too large, from the counts follows {most:.9g}"]


def too_small(name: str, claim: float, least: float) -> list[str]:
    """Return the problem that the column ``name`` claims less than ``least``, nan included; nothing if it does not."""
    return [] if claim >= least - TOLERANCE else [f"{name} is too small, from the counts follows {least:.9g}"]


def look_of(cell: str) -> tuple[int, int]:
    """Return ``(count, total)`` of a cell such as ``"90/100"``.

    Raises:
        ValueError, AttributeError: the cell holds something else.
    """
    count, total = map(int, cell.split("/"))
    return count, total


def votes_add_up(row: Mapping[str, Any], num_classes: int) -> bool:
    """Whether ``n`` votes can be ``count_a`` for one class and at most ``count_b`` for every other.

    The largest of the other counts (``num_classes`` of them, with the non-finite outputs) is at least their mean.
    """
    n, count_a, count_b = row["n"], row["count_a"], row["count_b"]
    return bool(count_a + count_b <= n <= count_a + num_classes * count_b)
