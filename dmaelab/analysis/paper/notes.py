"""The notes below a table of the paper: how its logs were certified, and how to read its numbers."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dmaelab.analysis.paper.rows import Row
from dmaelab.analysis.paper.specs import Spec, sigma_text
from dmaelab.records.labels import DATASET, EVAL_SIGMA, SELECTED_BY, SIGMA
from dmaelab.records.readers import Log

_COMMON = {"n": "n = {}", "n0": "n0 = {}", "alpha": "alpha = {}", "norm": "{} radii", "images": "{} images"}


def notes_on(spec: Spec, rows: Sequence[Row], other_logs: Sequence[Log]) -> Iterator[str]:
    """Yield the notes on the measured rows of a table, and on the logs that do not belong to it."""
    yield from _setting_notes(spec, rows)
    if spec.best_of_sigmas and rows:
        yield (
            "Each entry is the best over the sigmas of its row. The best sigma is chosen at each radius, on these same"
            " images. No single model has all entries of a row."
        )
    if spec.gaps_over:
        yield from _gap_notes(spec, spec.gaps_over, rows)
    if SIGMA in spec.blocks and (pairs := _missing_sigmas(rows)):
        yield f"Not measured: {', '.join(pairs)}."
    yield from _mark_notes(rows)
    yield from _warnings(spec, rows)
    if other_logs:
        yield f"Not in this table because of their labels: {', '.join(str(log.path) for log in other_logs)}."


def _setting_notes(spec: Spec, rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each setting in which the rows differ, and one line with the settings that all rows share."""
    common = []
    for key in dict.fromkeys(key for row in rows for one in row.measured for key in one.setting):
        names = _rows_by_value(spec, [(row, one.setting.get(key)) for row in rows for one in row.measured])
        if len(names) > 1:
            yield f"Rows differ in {key}: {'; '.join(f'{value} in {where}' for value, where in names.items())}."
        elif key in _COMMON:
            common += [_COMMON[key].format(value.split(" (")[0]) for value in names]
    if common:
        yield f"{', '.join(common)}."


def _gap_notes(spec: Spec, label: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line that explains the gaps, and a line for each other difference between compared rows."""
    pairs = [(row, rows[row.base]) for row in rows if row.base is not None and row.measured and rows[row.base].measured]
    rows_by_difference: dict[str, list[str]] = {}
    for row, base in pairs:
        names = sorted((row.facts.keys() | base.facts.keys()) - {label})
        values = [(name, row.facts.get(name, "none"), base.facts.get(name, "none")) for name in names]
        parts = [f"{name} ({_text(own)}, not {_text(other)})" for name, own, other in values if own != other]
        if parts:
            rows_by_difference.setdefault(", ".join(parts), []).append(_name(spec, row))
    base_name = f"{label}={spec.only[label][0]}" if label in spec.only else f"the fewest {label}"
    others = " All other labels are equal." if pairs and not rows_by_difference else ""
    yield f"In brackets: gap to the row with {base_name}, in percentage points.{others}"
    for difference, names in rows_by_difference.items():
        yield f"Compared rows also differ in {difference}: {', '.join(names)}."


def _missing_sigmas(rows: Sequence[Row]) -> list[str]:
    """Return the pairs of sigmas that a model lacks, such as ``"0.25 at 0.5"``.

    A pair consists of any training sigma and any evaluation sigma of the table.
    """
    pairs = sorted({(row.facts[SIGMA], row.facts[EVAL_SIGMA]) for row in rows}, key=str)
    trained, evaluated = (dict.fromkeys(pair[place] for pair in pairs) for place in (0, 1))
    models: dict[tuple[Any, ...], list[tuple[Any, Any]]] = {}
    for row in rows:
        key = tuple((name, value) for name, value in row.facts.items() if name not in (SIGMA, EVAL_SIGMA))
        models.setdefault(key, []).append((row.facts[SIGMA], row.facts[EVAL_SIGMA]))
    lacking = dict.fromkeys(
        (a, b) for measured in models.values() for a in trained for b in evaluated if (a, b) not in measured
    )
    return [f"{sigma_text(a)} at {sigma_text(b)}" for a, b in lacking]


def _mark_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line that explains each mark of the entries: deviations, intervals and lower bounds."""
    cells = [cell for row in rows for cell in row.cells if cell]
    if seeds := sorted({len(cell.measured) for cell in cells if cell.spread is not None}):
        yield f"±: mean and standard deviation over {' or '.join(map(str, seeds))} seeds."
    if any(cell.interval for cell in cells):
        yield "[low, high]: 95 % confidence interval of the share, if the images were drawn at random."
    if any(not cell.exact for cell in cells):
        yield (
            ">=: lower bound, because a sequential certification did not sample for this radius. Marks use this bound;"
            " gaps are left out."
        )


def _warnings(spec: Spec, rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each reason to doubt the logs: selected weights, too large radii, missing data sets."""
    measured = [(row, one) for row in rows for one in row.measured]
    selected = [(row, one.labels.get(SELECTED_BY)) for row, one in measured]
    for metric, names in _rows_by_value(spec, selected).items():
        yield (
            f"Weights selected by {metric}: {names}. The certified images may have been used to choose these weights,"
            " so the certificates are not independent of them."
        )
    too_large = [
        f"{one.log.path} ({one.too_large:.4g}, not {one.cap:.4g})" for _, one in measured if one.too_large is not None
    ]
    if too_large:
        yield (
            f"Too large radii: {', '.join(too_large)}. These radii are larger than sigma, n and alpha allow, so one of"
            " these labels must be wrong."
        )
    unnamed = [str(one.log.path) for _, one in measured if DATASET not in one.labels]
    if 0 < len(unnamed) < len(measured):
        yield f"Not labelled with a data set: {', '.join(unnamed)}."


def _rows_by_value(spec: Spec, values: Iterable[tuple[Row, Any]]) -> dict[str, str]:
    """Return for each value, as text, the names of the rows that have it. Rows with the value None are left out."""
    names: dict[str, dict[str, None]] = {}
    for row, value in values:
        if value is not None:
            names.setdefault(_text(value), {})[_name(spec, row)] = None
    return {text: ", ".join(rows) for text, rows in names.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _name(spec: Spec, row: Row) -> str:
    """Return the name of a row in a note: its name in the table, and its block in brackets."""
    name = row.lead[spec.name_column]
    return f"{name} ({spec.lead[0][0]} {row.lead[0]})" if spec.blocks else name
