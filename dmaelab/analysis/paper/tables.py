"""The tables of the paper from certification logs, in its layout: text, Markdown, LaTeX, CSV or JSON.

:func:`paper_table` leads logs through the files of this folder: measurements, rows, notes. Then it lays the rows out.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from dmaelab.analysis.layout import Entry, Grid, render
from dmaelab.analysis.paper.measurements import Measurement, measure_logs
from dmaelab.analysis.paper.notes import notes_on
from dmaelab.analysis.paper.published import NOTES
from dmaelab.analysis.paper.rows import Cell, Row, measured_rows, paper_rows
from dmaelab.analysis.paper.specs import SPECS, Spec
from dmaelab.analysis.summary import check_grid
from dmaelab.analysis.tables import FORMATS
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import METHODS
from dmaelab.utils.errors import UserError

NUMBERS = tuple(SPECS)

Section = Sequence[Row]
"""Rows that are ranked and compared among themselves: the measured ones, or those that the paper prints."""


def paper_table(
    number: int,
    logs: Sequence[Log] = (),
    *,
    style: str = "text",
    radii: Sequence[float] | None = None,
    intervals: bool = False,
    method: str = METHODS[0],
    partial: bool = False,
    paper: bool = False,
) -> str:
    """Return a table of the paper, made from logs by their labels, without a line break at its end.

    Certified accuracy is in percent of all images. Logs that differ in their seed alone make one row, with mean and
    standard deviation. ``0`` stands where n samples cannot certify so large a radius at all. JSON holds shares, counts
    and logs. CSV has further columns for entries beyond the cap, lower bounds, gaps, deviations and intervals, and no
    notes.

    Args:
        number: one of :data:`NUMBERS`.
        logs: whose headers hold the labels of :data:`dmaelab.records.labels.LABELS`, see
            :func:`dmaelab.analysis.log_labels.relabel`.
        style: one of :data:`dmaelab.analysis.tables.FORMATS`.
        radii: of the columns, [0,1] pixel units; those of the paper by default.
        intervals: add 95 % confidence intervals to entries of one log.
        method: of these intervals.
        partial: print a table whose gaps lack rows, "-" in their place.
        paper: add what the paper prints, as rows of their own that nothing measured is ranked or compared with.

    Raises:
        UserError: an unknown table or style, nothing to print, and as in
            :func:`~dmaelab.analysis.paper.measurements.measure_logs` and
            :func:`~dmaelab.analysis.paper.rows.measured_rows`.
    """
    if number not in SPECS:
        raise UserError(f"table {number} is none that logs make: there are {', '.join(map(str, SPECS))}")
    if style not in FORMATS:
        raise UserError(f"table format '{style}' is unknown: use one of {', '.join(FORMATS)}")
    if not (logs or paper):
        raise UserError(f"table {number} needs logs, or paper=True (--paper) for what the paper prints")
    spec = SPECS[number]
    radii = spec.radii if radii is None else check_grid(radii)
    measurements, left = measure_logs(spec, logs, radii) if logs else ([], [])
    interval = method if intervals else None
    measured = measured_rows(spec, measurements, left, radii, partial=partial, interval=interval) if logs else []
    notes = [*notes_on(spec, measured, left), *([_OF_PAPER.format(NOTES[number])] if paper else [])]
    sections = [rows for rows in (measured, paper_rows(spec, radii) if paper else []) if rows]
    dataset = next((f", {row.facts['dataset']}" for row in measured if "dataset" in row.facts), "")
    caption = f"Certified accuracy (%) {spec.caption}{dataset}"
    if style == "json":
        return _as_json(spec, radii, sections, caption, notes)
    if style == "csv":
        return render(_for_a_spreadsheet(spec, radii, sections, paper), style)
    caption = caption if style == "latex" else f"Table {number}. {caption}"
    return render(_for_the_eye(spec, radii, sections, paper, caption, notes), style)


_OF_PAPER = "Rows of the paper: {}. Nothing measured is ranked or compared with them."


def ranks(spec: Spec, rows: Section) -> list[list[str]]:
    """Return the mark of each cell: of the best shares at a radius, and of the second best; equal ones share a mark."""
    columns = []
    for cells in zip(*(row.cells for row in rows), strict=True):
        shares = [round(cell.share, 9) if cell and not cell.zero else 0.0 for cell in cells]
        marks = dict(zip(sorted({share for share in shares if share > 0}, reverse=True), spec.marks, strict=False))
        columns.append([marks.get(share, "") for share in shares])
    return [list(marks) for marks in zip(*columns, strict=True)]


def gaps(rows: Section, row: Row) -> list[float | None]:
    """Return by how much the share in each cell of a row exceeds that of its base.

    None where an entry is missing or a lower bound, or where no radius is that large.
    """

    def gap(cell: Cell | None, base: Cell | None) -> float | None:
        if cell is None or base is None or cell.zero or not (cell.exact and base.exact):
            return None
        return cell.share - base.share

    bases = rows[row.base].cells if row.base is not None else [None] * len(row.cells)
    return [gap(cell, base) for cell, base in zip(row.cells, bases, strict=True)]


def _for_the_eye(
    spec: Spec,
    radii: Sequence[float],
    sections: Sequence[Section],
    with_source: bool,
    caption: str,
    notes: Sequence[str],
) -> Grid:
    """Return the grid of text, Markdown and LaTeX; a first column says where each row is from if ``with_source``.

    A block names itself in its first row only. Marks and gaps stand in the cell of their entry.
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
            lines.append([*([_source(row)] if with_source else []), first, *rest, *entries])
    heads = _heads(spec, with_source)
    columns = [*heads, *(f"r={float(radius)}" for radius in radii)]
    return Grid(columns, lines, left=len(heads), blocks=blocks[1:], caption=caption, notes=notes)


def _for_a_spreadsheet(spec: Spec, radii: Sequence[float], sections: Sequence[Section], with_source: bool) -> Grid:
    """Return the grid of CSV, in percent: a column for every kind of figure that any row has, empty where a row has
    none.
    """
    rows = [(row, dict(_figures(radii, rows, row))) for rows in sections for row in rows]
    used = {name.partition(" ")[2] for _, figures in rows for name in figures}
    kinds = ["", *(f" {kind}" for kind in ("beyond cap", "lower bound", "gap", "sd", "low", "high") if kind in used)]
    columns = [f"r={float(radius)}{kind}" for radius in radii for kind in kinds]
    lines = [
        [*([_source(row)] if with_source else []), *row.lead, *(figures.get(name, "") for name in columns)]
        for row, figures in rows
    ]
    return Grid([*_heads(spec, with_source), *columns], lines)


def _figures(radii: Sequence[float], rows: Section, row: Row) -> Iterator[tuple[str, str]]:
    """Yield (column, text) for every figure of a row."""
    for radius, cell, more in zip(radii, row.cells, gaps(rows, row), strict=True):
        if cell is not None:
            for kind, holds in (("beyond cap", cell.zero), ("lower bound", not cell.exact)):
                if holds:
                    yield f"r={float(radius)} {kind}", "yes"
            low, high = cell.interval or (None, None)
            for kind, share in (("", cell.share), (" gap", more), (" sd", cell.spread), (" low", low), (" high", high)):
                if share is not None:
                    yield f"r={float(radius)}{kind}", f"{100 * share:.6g}"


def _heads(spec: Spec, with_source: bool) -> list[str]:
    return [*(["Source"] if with_source else []), *(head for head, _ in spec.lead)]


def _source(row: Row) -> str:
    return "paper" if row.printed else "measured"


def _text(cell: Cell | None) -> str:
    """Return an entry in percent, with its deviation over seeds or its interval."""
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


def _as_json(
    spec: Spec, radii: Sequence[float], sections: Sequence[Section], caption: str, notes: Sequence[str]
) -> str:
    """Return everything that a script needs: shares in [0, 1], counts, logs and their settings."""
    rows: list[dict[str, Any]] = []
    for section in sections:
        rows += _records(spec, radii, section, len(rows))
    table = {"table": spec.number, "caption": caption, "radii": list(radii), "rows": rows, "notes": notes}
    return json.dumps(table, indent=2)


def _records(spec: Spec, radii: Sequence[float], rows: Section, start: int) -> Iterator[dict[str, Any]]:
    """Yield what JSON holds of each row of a section, the first being row ``start`` of its list."""
    for row, marks in zip(rows, ranks(spec, rows), strict=True):
        cells = []
        for radius, cell, mark, more in zip(radii, row.cells, marks, gaps(rows, row), strict=True):
            cells.append(
                None
                if cell is None
                else {
                    "radius": radius,
                    "share": cell.share,
                    "sd": cell.spread,
                    "interval": cell.interval,
                    "gap": more,
                    "mark": mark,
                    "beyond_cap": cell.zero,
                    "lower_bound": not cell.exact,
                    "logs": [
                        {**_log(one), "count": count} for one, count in zip(cell.measured, cell.counts, strict=True)
                    ],
                }
            )
        lead = {head: text for (head, _), text in zip(spec.lead, row.lead, strict=True)}
        yield {
            "source": "paper" if row.printed else "measured",
            **lead,
            "labels": row.facts,
            "compared_with": None if row.base is None else start + row.base,
            "cells": cells,
            "logs": [_log(one) for one in row.measured],
        }


def _log(one: Measurement) -> dict[str, Any]:
    return {"path": str(one.log.path), "images": len(one.log), **one.labels}
