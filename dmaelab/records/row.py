"""One row of a certification log: its columns, and the text of its cells.

A cell is text that reads back as exactly the value that was written. Rows are compared as text.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any

from dmaelab.utils.errors import UserError

BASE_COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
"""The first columns of every log, which scripts written for the logs of Cohen et al. (2019) read."""

CERTIFY_COLUMNS = (
    "top", "radius_full", "p_lower", "count_a", "n", "n0", "count_b", "runner_up", "p_upper", "radius_two_sided",
    "samples", "look_a", "look_b", "stop_reason",
)  # fmt: skip
"""What certifiers add: the selected class and the raw statistics behind the radius."""

PREDICT_COLUMNS = ("top", "count_a", "n", "count_b", "runner_up", "p_value")
"""What PREDICT adds."""

WRONG_CLASS = "wrong_class"
"""``stop_reason`` of a row that was not estimated because the selected class is not the label."""

_STEP = Decimal("0.000001")


def make_row(
    index: int, label: int, prediction: int, radius: float, seconds: float, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of one row by column.

    Args:
        index: of the image in its data set.
        label: the true class.
        prediction: the class, or -1 for abstention.
        radius: certified radius at full precision, [0,1] pixel units; written rounded down.
        seconds: from the admission of the image to its decision.
        extra: the certifier's own columns.
    """
    correct = int(prediction >= 0 and prediction == label)
    return {
        "idx": index,
        "label": label,
        "predict": prediction,
        "radius": radius,
        "correct": correct,
        "time": seconds,
        **extra,
    }


def format_row(columns: Sequence[str], row: Mapping[str, Any]) -> str:
    """Return the row as one line of tab-separated cells, without the newline.

    Raises:
        UserError: a column has no value, or a value does not belong to any column.
    """
    missing, unknown = [c for c in columns if c not in row], [c for c in row if c not in columns]
    if missing or unknown:
        raise UserError(
            f"a row does not fit the columns of its log: missing {missing}, unknown {unknown}; correct the"
            " certifier's columns"
        )
    special: dict[str, Callable[[Any], str]] = {"radius": floor_radius, "time": lambda seconds: f"{seconds:.6f}"}
    return "\t".join(special.get(column, format_value)(row[column]) for column in columns)


def floor_radius(radius: float) -> str:
    """Return the radius rounded down to 6 decimals, so that the log never claims more than was certified.

    In decimal arithmetic: a floor in binary prints more than the radius for some radii.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise UserError(
            f"a row of the log has the radius {radius}: it must be finite and not negative, 0 on abstention"
        )
    return str(Decimal(float(radius) + 0.0).quantize(_STEP, ROUND_DOWN))


def format_value(value: Any) -> str:
    """Return the cell of a value: whole numbers and text as they are, floats with all their digits."""
    if isinstance(value, str):
        if any(mark in value for mark in "\t\n\r"):
            raise UserError(f"a cell of the log cannot hold {value!r}: no tabs and no line breaks")
        return value
    if hasattr(value, "item"):  # a number of numpy, whose repr is not the number
        value = value.item()
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def parse_value(cell: str) -> int | float | str:
    """Return the value of a cell: a whole number, a float, or text."""
    if "_" in cell:  # Python would read 1_000 as a number; no log writes one so
        return cell
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def parse_row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Return the values of one row by column; the inverse of :func:`format_row` but for the rounded radius."""
    return dict(zip(columns, map(parse_value, cells), strict=True))
