"""The rows of one of the paper's tables as a grid: for the eye, or one figure a column for a spreadsheet."""

from collections.abc import Iterator, Sequence

from dmaelab.analysis.layout import Entry, Grid
from dmaelab.analysis.paper.cells import Cell, gap
from dmaelab.analysis.paper.rows import Row
from dmaelab.analysis.paper.specs import Spec

Section = Sequence[Row]
"""Rows that are ranked and compared among themselves: the measured ones, or those that the paper prints."""


def ranks(spec: Spec, rows: Section) -> list[list[str]]:
    """Return the mark of each cell: of the best shares at a radius, and of the second best; equal ones share a mark."""
    columns = []
    for cells in zip(*(row.cells for row in rows), strict=True):
        shares = [round(cell.share, 9) if cell and not cell.zero else 0.0 for cell in cells]
        marks = dict(zip(sorted({share for share in shares if share > 0}, reverse=True), spec.marks, strict=False))
        columns.append([marks.get(share, "") for share in shares])
    return [list(marks) for marks in zip(*columns, strict=True)]


def gaps(rows: Section, row: Row) -> list[float | None]:
    """Return by how much the shares of a row exceed those of its base; None where nothing is to be compared."""
    base = rows[row.base].cells if row.base is not None else [None] * len(row.cells)
    return [gap(cell, other) for cell, other in zip(row.cells, base, strict=True)]


def for_the_eye(spec: Spec, radii: Sequence[float], sections: Sequence[Section], named: bool) -> Grid:
    """Return the grid of text, Markdown and LaTeX, without caption and notes; ``named`` says of each row where it is
    from.

    What a block repeats is left out, and marks and gaps stand with their entries.
    """
    lines: list[list[str | Entry]] = []
    blocks = []
    for rows in sections:
        before = None
        for row, marks in zip(rows, ranks(spec, rows), strict=True):
            first, *rest = row.lead
            if before is None or (spec.blocks and first != before):
                blocks.append(len(lines))
            elif spec.blocks:
                first = ""
            elif first.startswith(f"{before} + "):
                first = first.removeprefix(f"{before} ")
            before = row.lead[0]
            entries = [
                Entry(_text(cell), mark, _signed(more))
                for cell, mark, more in zip(row.cells, marks, gaps(rows, row), strict=True)
            ]
            lines.append([*([_source(row)] if named else []), first, *rest, *entries])
    heads = _heads(spec, named)
    return Grid([*heads, *(f"r={float(radius)}" for radius in radii)], lines, left=len(heads), blocks=blocks[1:])


def for_a_spreadsheet(spec: Spec, radii: Sequence[float], sections: Sequence[Section], named: bool) -> Grid:
    """Return the grid of CSV: in percent, a column for every kind of figure that any row has; empty where there is
    none.
    """
    rows = [(row, dict(_figures(radii, rows, row))) for rows in sections for row in rows]
    used = {name.partition(" ")[2] for _, figures in rows for name in figures}
    kinds = ["", *(f" {kind}" for kind in ("beyond cap", "lower bound", "gap", "sd", "low", "high") if kind in used)]
    columns = [f"r={float(radius)}{kind}" for radius in radii for kind in kinds]
    lines = [
        [*([_source(row)] if named else []), *row.lead, *(figures.get(name, "") for name in columns)]
        for row, figures in rows
    ]
    return Grid([*_heads(spec, named), *columns], lines)


def _figures(radii: Sequence[float], rows: Section, row: Row) -> Iterator[tuple[str, str]]:
    for radius, cell, more in zip(radii, row.cells, gaps(rows, row), strict=True):
        if cell is not None:
            for kind, holds in (("beyond cap", cell.zero), ("lower bound", not cell.exact)):
                if holds:
                    yield f"r={float(radius)} {kind}", "yes"
            low, high = cell.interval or (None, None)
            for kind, share in (("", cell.share), (" gap", more), (" sd", cell.spread), (" low", low), (" high", high)):
                if share is not None:
                    yield f"r={float(radius)}{kind}", f"{100 * share:.6g}"


def _heads(spec: Spec, named: bool) -> list[str]:
    return [*(["Source"] if named else []), *(head for head, _ in spec.lead)]


def _source(row: Row) -> str:
    return "paper" if row.printed else "measured"


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    if cell.zero:
        return "0"
    text = f"{'' if cell.exact else '>='}{100 * cell.share:.1f}"
    if cell.spread is not None:
        text += f" ± {100 * cell.spread:.1f}"
    if cell.interval is not None:
        text += " [{:.1f}, {:.1f}]".format(*(100 * end for end in cell.interval))
    return text


def _signed(share: float | None) -> str:
    """Return a gap in percentage points; adding 0.0 leaves no minus before a zero."""
    return "" if share is None else f"{round(100 * share, 1) + 0.0:+.1f}"
