"""How the cells of a row are spelled. Only ``--verify`` is so strict: readers accept any spelling of a number.

A cell must have the text that :func:`dmaelab.records.row.format_row` writes for its value, and a value that its column
can have. So ``007``, ``+5``, ``100.0`` for a count, or ``NaN`` are reported.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dmaelab.records.kinds import Kind
from dmaelab.records.row import format_value

_SIX_DECIMALS = re.compile(r"(0|[1-9][0-9]*)\.[0-9]{6}")
_LOOK = re.compile(r"(0|[1-9][0-9]*)/[1-9][0-9]*")


def _whole(least: float, most: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _real(most: float) -> Callable[[Any], bool]:
    return lambda value: type(value) is float and 0 <= value <= most and math.isfinite(value)


def _is_nan(value: Any) -> bool:
    return type(value) is float and math.isnan(value)


def _or_nan(kind: Kind) -> Kind:
    return Kind(lambda value: _is_nan(value) or kind.fits(value), f"{kind.words}, or nan")


_COUNT = Kind(_whole(0), "a whole number, at least 0")
_CLASS = Kind(_whole(-math.inf), "a whole number")  # which classes there are is known to the verification only
_COUNT_OR_NAN = _or_nan(_COUNT)
_PROBABILITY = _or_nan(Kind(_real(1), "a number from 0 to 1 with a decimal point"))
_RADIUS = _or_nan(Kind(_real(math.inf), "a finite number >= 0 with a decimal point"))
_LOOK_OR_NAN = _or_nan(Kind(lambda value: isinstance(value, str) and bool(_LOOK.fullmatch(value)), "count/total"))

KINDS = {
    "idx": _COUNT,
    "label": _CLASS,
    "predict": _CLASS,
    "correct": Kind(_whole(0, 1), "0 or 1"),
    "top": _CLASS,
    "radius_full": _RADIUS,
    "p_lower": _PROBABILITY,
    "count_a": _COUNT_OR_NAN,
    "n": _COUNT,
    "n0": _COUNT,
    "count_b": _COUNT_OR_NAN,
    "runner_up": _COUNT_OR_NAN,
    "p_upper": _PROBABILITY,
    "radius_two_sided": _RADIUS,
    "samples": _COUNT,
    "look_a": _LOOK_OR_NAN,
    "look_b": _LOOK_OR_NAN,
    "stop_reason": _or_nan(Kind(lambda value: isinstance(value, str) and value != "", "a word")),
    "p_value": _PROBABILITY,
}
"""Column -> the values that it can have, for the columns of this package's certifiers; nan means "does not apply"."""

_ROUNDED = ("radius", "time")


def cell_problems(columns: Sequence[str], cells: Sequence[str], row: Mapping[str, Any]) -> list[str]:
    """Return a line for each cell with another spelling than the writer's, or with a value that its column cannot have.

    Args:
        columns: names of the columns.
        cells: the texts of the row.
        row: the values of the row, from :func:`dmaelab.records.row.parse_row`.
    """
    found = []
    for name, cell in zip(columns, cells, strict=True):
        value = row[name]
        if name in _ROUNDED:
            if not _SIX_DECIMALS.fullmatch(cell):
                found.append(f"{name} is {shown(cell)}, not a number >= 0 with 6 decimals")
        elif not isinstance(value, str) and format_value(value) != cell:
            found.append(f"{name} is {shown(cell)}, the writer spells it {shown(format_value(value))}")
        elif name in KINDS and not KINDS[name].fits(value):
            found.append(f"{name} is {shown(cell)}, not {KINDS[name].words}")
    return found


def shown(cell: str, most: int = 40) -> str:
    """Return a text for a message: in quotes, with escapes for characters that cannot be printed, cut if it is long."""
    return ascii(cell if len(cell) <= most else f"{cell[:most]}...")
