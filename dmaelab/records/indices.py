"""Lists of image indices as short text, for the header of a log."""

import hashlib
from collections.abc import Iterable, Sequence

from dmaelab.utils.errors import UserError

MOST = 10**7
"""Largest number of indices in a list. A damaged text could else ask for more than the memory holds."""


def format_indices(indices: Iterable[int]) -> str:
    """Return sorted indices as ranges separated by commas, such as ``"0:451:50"`` for 0, 50, ..., 450."""
    values = sorted(indices)
    parts = []
    start = 0
    while start < len(values):
        step = values[start + 1] - values[start] if start + 1 < len(values) else 1
        stop = start + 1
        while stop < len(values) and values[stop] - values[stop - 1] == step:
            stop += 1
        # Write two indices as two numbers: that is shorter, and the second may be the start of a longer range.
        stop = start + 1 if stop == start + 2 and step != 1 else stop
        length = stop - start
        parts.append(
            str(values[start])
            if length == 1
            else f"{values[start]}:{values[stop - 1] + 1}" + (f":{step}" if step != 1 else "")
        )
        start = stop
    return ",".join(parts)


def parse_indices(text: str) -> list[int]:
    """Return the indices of a text that :func:`format_indices` made.

    Raises:
        UserError: other text, or more than :data:`MOST` indices.
    """
    try:
        pieces = [[int(number) for number in part.split(":")] for part in text.split(",") if part]
        ranges = [range(*piece) if len(piece) > 1 else piece for piece in pieces]
        if sum(map(len, ranges)) > MOST:
            raise OverflowError
        return [index for indices in ranges for index in indices]
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{text[:40]!a} is not a list of image indices, such as 0:500:50 or 3,7") from None


def subset(indices: Sequence[int]) -> dict[str, int | str]:
    """Return ``{"count", "hash"}`` of the sorted indices, as stored in the identity of a log."""
    text = ",".join(map(str, sorted(indices)))
    return {"count": len(indices), "hash": hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}
