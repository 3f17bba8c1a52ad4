"""The lines under one of the paper's tables: how its rows were measured, and how its figures are to be read."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dmaelab.analysis.paper.rows import Row
from dmaelab.analysis.paper.specs import Spec, sigma_text
from dmaelab.records.labels import SELECTED_BY
from dmaelab.records.readers import Log

_COMMON = {"n": "n = {}", "n0": "n0 = {}", "alpha": "alpha = {}", "norm": "{} radii", "images": "{} images"}


def notes_on(spec: Spec, rows: Sequence[Row], left: Sequence[Log]) -> Iterator[str]:
    """Yield the notes on the measured rows of a table, and on the logs that are no part of it."""
    cells = [cell for row in rows for cell in row.cells if cell]
    measured = [one for row in rows for one in row.measured]
    yield from _settings(spec, rows)
    if spec.best_of_sigmas and rows:
        yield (
            "Each entry is the best over the sigmas of its row, chosen at each radius on these same images: "
            "no single model has them all."
        )
    if spec.gaps_over:
        yield from _gaps(spec, spec.gaps_over, rows)
    if "sigma" in spec.blocks and (pairs := _not_measured(rows)):
        yield f"Not measured: {', '.join(pairs)}."
    if seeds := sorted({len(cell.measured) for cell in cells if cell.spread is not None}):
        yield f"±: mean and standard deviation over {' or '.join(map(str, seeds))} seeds."
    if any(cell.interval for cell in cells):
        yield "[low, high]: 95 % confidence interval of the share, if the images were drawn at random."
    if any(not cell.exact for cell in cells):
        yield (
            ">=: lower bound, a sequential certification did not sample for this radius; marks go by it, "
            "gaps are not stated."
        )
    selected = [(row, one.labels.get(SELECTED_BY)) for row in rows for one in row.measured]
    for value, names in _rows_by(spec, selected).items():
        yield (
            f"Weights selected by {value}, where the certified images may have had a say in their own certificates: "
            f"{names}."
        )
    beyond = [(one.log.path, one.too_large, one.cap) for one in measured if one.too_large is not None]
    if beyond:
        yield (
            "Radii beyond what the labelled sigma, n and alpha allow, so that one of these is not the log's: "
            f"{', '.join(f'{path} ({largest:.4g}, not {cap:.4g})' for path, largest, cap in beyond)}."
        )
    unnamed = [str(one.log.path) for one in measured if "dataset" not in one.labels]
    if 0 < len(unnamed) < len(measured):
        yield f"Not labelled with a data set: {', '.join(unnamed)}."
    if left:
        yield f"No part of this table by their labels: {', '.join(str(log.path) for log in left)}."


def _settings(spec: Spec, rows: Sequence[Row]) -> Iterator[str]:
    """Yield one line of what all rows have in common, and one for each setting in which they differ."""
    common = []
    for key in dict.fromkeys(key for row in rows for one in row.measured for key in one.setting):
        names = _rows_by(spec, [(row, one.setting.get(key)) for row in rows for one in row.measured])
        if len(names) > 1:
            yield f"Rows differ in {key}: {'; '.join(f'{value} in {who}' for value, who in names.items())}."
        elif key in _COMMON:
            common += [_COMMON[key].format(value.split(" (")[0]) for value in names]
    if common:
        yield f"{', '.join(common)}."


def _gaps(spec: Spec, label: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yield to which value of ``label`` gaps are, and in which other labels the rows that they compare differ."""
    pairs = [(row, rows[row.base]) for row in rows if row.base is not None and row.measured and rows[row.base].measured]
    besides: dict[str, list[str]] = {}
    for row, base in pairs:
        names = sorted((row.facts.keys() | base.facts.keys()) - {label})
        both = [(name, row.facts.get(name, "none"), base.facts.get(name, "none")) for name in names]
        if text := ", ".join(f"{name} ({_text(own)}, not {_text(other)})" for name, own, other in both if own != other):
            besides.setdefault(text, []).append(_name(spec, row))
    alike = ", all other labels alike" if pairs and not besides else ""
    least = f"{label}={spec.only[label][0]}" if label in spec.only else f"the fewest {label}"
    yield f"In brackets: percentage points more than with {least}{alike}."
    for text, who in besides.items():
        yield f"Compared rows also differ in {text}: {', '.join(who)}."


def _not_measured(rows: Sequence[Row]) -> list[str]:
    """Return the pairs of sigmas, of training and evaluation, that a model lacks.

    Pairs are those of any training sigma with any evaluation sigma of the table.
    """
    pairs = sorted({(row.facts["sigma"], row.facts["eval_sigma"]) for row in rows}, key=str)
    trained, evaluated = (dict.fromkeys(pair[place] for pair in pairs) for place in (0, 1))
    models: dict[tuple[Any, ...], list[tuple[Any, Any]]] = {}
    for row in rows:
        key = tuple((name, value) for name, value in row.facts.items() if name not in ("sigma", "eval_sigma"))
        models.setdefault(key, []).append((row.facts["sigma"], row.facts["eval_sigma"]))
    lacking = dict.fromkeys(
        (a, b) for there in models.values() for a in trained for b in evaluated if (a, b) not in there
    )
    return [f"{sigma_text(a)} at {sigma_text(b)}" for a, b in lacking]


def _rows_by(spec: Spec, values: Iterable[tuple[Row, Any]]) -> dict[str, str]:
    """Return for each value, as text, the names of the rows that have it; None is no value."""
    names: dict[str, dict[str, None]] = {}
    for row, value in values:
        if value is not None:
            names.setdefault(_text(value), {})[_name(spec, row)] = None
    return {text: ", ".join(who) for text, who in names.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _name(spec: Spec, row: Row) -> str:
    """Return what a note calls a row: its name, and its block in brackets."""
    name = row.lead[spec.name_column]
    return f"{name} ({spec.lead[0][0]} {row.lead[0]})" if spec.blocks else name
