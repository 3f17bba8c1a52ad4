"""One row of a certification log: its columns, and the conversion between values and text.

Except for ``radius`` and ``time``, which are rounded, reading the text of a cell gives exactly the value that was
written. Rows are compared as text.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any

from dmaelab.utils.errors import UserError

BASE_COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
"""The first columns of every log. They are those of Cohen et al. (2019), so that scripts for their logs work."""

CERTIFY_COLUMNS = (
    "top", "radius_full", "p_lower", "count_a", "n", "n0", "count_b", "runner_up", "p_upper", "radius_two_sided",
    "samples", "look_a", "look_b", "stop_reason",
)  # fmt: skip
"""The further columns of certifiers: the selected class and the statistics from which the radius is computed."""

PREDICT_COLUMNS = ("top", "count_a", "n", "count_b", "runner_up", "p_value")
"""The further columns of PREDICT."""

WRONG_CLASS = "wrong_class"
"""``stop_reason`` of a row for which estimation was skipped, because the selected class is not the label."""

_STEP = Decimal("0.000001")


def make_row(
    index: int, label: int, prediction: int, radius: float, seconds: float, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of one row by column.

    Args:
        index: index of the image in its data set.
        label: the true class.
        prediction: the predicted class, or -1 for abstention.
        radius: certified radius at full precision, in [0,1] pixel units. The log contains it rounded down.
        seconds: time from the start of the image's certification to its result.
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

    It is rounded in decimal arithmetic, because rounding down in binary prints too large a number for some radii.

    Raises:
        UserError: the radius is negative or not finite.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise UserError(f"a row of the log has the radius {radius}: it must be finite and >= 0, and 0 on abstention")
    return str(Decimal(float(radius) + 0.0).quantize(_STEP, ROUND_DOWN))


def format_value(value: Any) -> str:
    """Return a value as the text of a cell: integers and text unchanged, floats with all their digits.

    Raises:
        UserError: a text that contains tabs or line breaks.
    """
    if isinstance(value, str):
        if any(mark in value for mark in "\t\n\r"):
            raise UserError(f"a cell of the log cannot contain tabs or line breaks: {value!r}")
        return value
    if hasattr(value, "item"):  # a numpy number, whose repr is not just the number
        value = value.item()
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def parse_value(cell: str) -> int | float | str:
    """Return the value of a cell: an integer, a float, or text."""
    if "_" in cell:  # Python would parse 1_000 as a number, but in a log it is text
        return cell
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def parse_row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Return the values of one row by column; the inverse of :func:`format_row` except for rounded values."""
    return dict(zip(columns, map(parse_value, cells), strict=True))
