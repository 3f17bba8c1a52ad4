"""The lines under one of the paper's tables: how its rows were measured, and what its figures are not."""

from collections.abc import Iterator, Sequence

from dmaelab.analysis.rows import Row
from dmaelab.analysis.specs import Spec
from dmaelab.records.readers import Log


def notes_on(spec: Spec, rows: Sequence[Row], left: Sequence[Log]) -> Iterator[str]:
    """Yield what is to be said of measured rows, and of the logs that were left out."""
    cells = [cell for row in rows for cell in row.cells if cell]
    measured = list({id(one): one for row in rows for one in row.measured}.values())
    yield from _settings(spec, rows)
    if spec.envelope and rows:
        yield "Each entry is the best over the sigmas of its row, chosen at each radius on these same images: no single model has them all."
    if spec.takes:
        label, values = list(spec.takes.items())[-1]
        first = f"{label}={values[0]}" if values else f"the fewest {label}"
        yield f"In brackets: percentage points more than with {first}, all else alike."
    if seeds := sorted({len(cell.measured) for cell in cells if cell.spread is not None}):
        yield f"±: mean and standard deviation over {' or '.join(map(str, seeds))} seeds of training."
    if any(cell.interval for cell in cells):
        yield "[low, high]: 95 % confidence interval of the share, if the images were drawn at random."
    if any(not cell.exact for cell in cells):
        yield ">=: lower bound, the sequential certification did not sample for this radius; marks go by it, gaps are not stated."
    if beyond := [f"{one.log.path} ({one.largest:.4g}, not {one.cap:.4g})" for one in measured if one.largest]:
        yield f"Radii beyond what the labelled sigma, n and alpha allow, so that one of these is not the log's: {', '.join(beyond)}."
    if left:
        yield f"No part of this table by their labels: {', '.join(str(log.path) for log in left)}."


def _settings(spec: Spec, rows: Sequence[Row]) -> Iterator[str]:
    """Yield one line of what all rows have in common, and one for each setting in which they differ."""
    common = []
    for key, text in (("n", "n = {}"), ("n0", "n0 = {}"), ("alpha", "alpha = {}"), ("norm", "{} radii"), ("images", "{} images")):
        names: dict[object, list[str]] = {}
        for row in rows:
            for one in row.measured[:1]:  # all of a row are alike
                names.setdefault(one.setting[key], []).append(_name(spec, row))
        if len(names) == 1:
            common += [text.format(str(value).split(" (")[0]) for value in names]
        elif names:
            different = "; ".join(f"{value} in {', '.join(who)}" for value, who in names.items())
            yield f"Rows differ in {key}: {different}."
    if common:
        yield f"{', '.join(common)}."


def _name(spec: Spec, row: Row) -> str:
    """Return what a note calls a row, its block among it."""
    name = row.lead[spec.name]
    return f"{name} ({spec.lead[0][0]} {row.lead[0]})" if spec.blocks else name
