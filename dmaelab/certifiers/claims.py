"""Helpers for certifiers that verify a row: is a claim larger than what follows from the counts?"""

from collections.abc import Mapping
from typing import Any

TOLERANCE = 1e-8
"""Largest allowed rounding difference between a claim and its recomputed value, for probabilities and for radii.

Bounds are computed to about 1e-12 on any machine. An error in a bound grows by a factor of at most some thousand in the
radius.
"""


def too_large(name: str, claim: float, most: float) -> list[str]:
    """Return a list with one problem if the column ``name`` claims more than ``most`` or is nan, else an empty list."""
    return [] if claim <= most + TOLERANCE else [f"{name} is too large, from the counts follows {most:.9g}"]


def too_small(name: str, claim: float, least: float) -> list[str]:
    """Return a list with one problem if the column ``name`` claims less than ``least`` or is nan, else an empty one."""
    return [] if claim >= least - TOLERANCE else [f"{name} is too small, from the counts follows {least:.9g}"]


def look_of(cell: str) -> tuple[int, int]:
    """Return ``(count, total)`` of a cell such as ``"90/100"``.

    Raises:
        ValueError, AttributeError: the cell holds something else.
    """
    count, total = map(int, cell.split("/"))
    return count, total


def votes_add_up(row: Mapping[str, Any], num_classes: int) -> bool:
    """Whether ``n`` votes can consist of ``count_a`` for one class, ``count_b`` for a second and no more for others.

    Beside the first class ``top`` there are ``num_classes`` counts, since non-finite outputs count as a class. The
    second class is the ``runner_up``. Each other count is at most ``count_b``, and less if its class comes before the
    runner-up, because the lowest class wins a tie.
    """
    n, count_a, count_b, second = row["n"], row["count_a"], row["count_b"], row["runner_up"]
    before = second - (row["top"] < second)
    return bool(count_a + count_b <= n <= count_a + num_classes * count_b - before)
