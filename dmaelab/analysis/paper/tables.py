"""Tables of the paper, made from certification logs, as text, Markdown, LaTeX, CSV or JSON.

:func:`paper_table` turns logs into measurements, rows and notes with the other files of this folder. Then it arranges
the rows as a grid or as JSON.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dmaelab.analysis.layout import Entry, Grid, render
from dmaelab.analysis.paper.measurements import Measurement, measure_logs
from dmaelab.analysis.paper.notes import notes_on
from dmaelab.analysis.paper.published import NOTES
from dmaelab.analysis.paper.rows import Cell, Row, measured_rows, paper_rows
from dmaelab.analysis.paper.specs import SPECS, Spec
from dmaelab.analysis.summary import check_grid
from dmaelab.analysis.tables import FORMATS
from dmaelab.records.labels import DATASET
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import METHODS
from dmaelab.utils.errors import UserError

NUMBERS = tuple(SPECS)

Section = Sequence[Row]
"""Rows that are ranked and compared with each other: the measured ones, or those that the paper prints."""

_CSV_KINDS = ("beyond cap", "lower bound", "gap", "sd", "low", "high")

_PAPER_NOTE = "Rows of the paper: {}. Nothing measured is ranked or compared with them."


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

    Certified accuracy is in percent of all images. Logs that differ only in their seed form one row, with mean and
    standard deviation. ``0`` means that n samples cannot certify any image at so large a radius. JSON contains shares
    from 0 to 1, counts and logs. CSV has no notes; more columns say which entries are beyond the cap or lower bounds,
    and give gaps, deviations and intervals.

    Args:
        number: one of :data:`NUMBERS`.
        logs: logs with labels (:data:`dmaelab.records.labels.LABELS`) in their headers, see
            :func:`dmaelab.analysis.log_labels.relabel`.
        style: one of :data:`dmaelab.analysis.tables.FORMATS`.
        radii: radii of the columns, in [0,1] pixel units; None takes those of the paper.
        intervals: add 95 % confidence intervals to entries that come from one log.
        method: method of these intervals, one of :data:`dmaelab.stats.intervals.METHODS`.
        partial: print the table although rows that it compares are missing.
        paper: add the rows that the paper prints. Measured rows are not ranked or compared with them.

    Raises:
        UserError: the table or style is unknown, there is nothing to print, or
            :func:`~dmaelab.analysis.paper.measurements.measure_logs` or
            :func:`~dmaelab.analysis.paper.rows.measured_rows` raises it.
    """
    if number not in SPECS:
        raise UserError(f"table {number} cannot be made from logs; choose one of {', '.join(map(str, SPECS))}")
    if style not in FORMATS:
        raise UserError(f"table format '{style}' is unknown: use one of {', '.join(FORMATS)}")
    if not (logs or paper):
        raise UserError(f"table {number} needs logs, or paper=True (--paper) to print the rows of the paper")
    spec = SPECS[number]
    radii = spec.radii if radii is None else check_grid(radii)
    measured: list[Row] = []
    other_logs: list[Log] = []
    if logs:
        measurements, other_logs = measure_logs(spec, logs, radii)
        interval = method if intervals else None
        measured = measured_rows(spec, measurements, other_logs, radii, partial=partial, interval=interval)
    sections = [measured] if measured else []
    notes = list(notes_on(spec, measured, other_logs))
    if paper:
        sections.append(paper_rows(spec, radii))
        notes.append(_PAPER_NOTE.format(NOTES[number]))
    dataset = next((f", {row.facts[DATASET]}" for row in measured if DATASET in row.facts), "")
    caption = f"Certified accuracy (%) {spec.caption}{dataset}"
    return _Table(spec, radii, sections, caption, notes, with_source=paper).written(style)


def ranks(spec: Spec, rows: Section) -> list[list[str]]:
    """Return the mark of each cell, or an empty text.

    The best share at a radius has the first mark of the table, the second best the second. Equal shares have the same
    mark.
    """
    columns = []
    for cells in zip(*(row.cells for row in rows), strict=True):
        shares = [round(cell.share, 9) if cell and not cell.zero else 0.0 for cell in cells]
        marks = dict(zip(sorted({share for share in shares if share > 0}, reverse=True), spec.marks, strict=False))
        columns.append([marks.get(share, "") for share in shares])
    return [list(marks) for marks in zip(*columns, strict=True)]


def gaps(rows: Section, row: Row) -> list[float | None]:
    """Return for each cell of a row its share minus that of the row it is compared with.

    The gap is None if one of the two entries is missing or a lower bound, or if the radius is too large for n samples.
    """

    def gap(cell: Cell | None, base: Cell | None) -> float | None:
        if cell is None or base is None or cell.zero or not (cell.exact and base.exact):
            return None
        return cell.share - base.share

    bases = rows[row.base].cells if row.base is not None else [None] * len(row.cells)
    return [gap(cell, base) for cell, base in zip(row.cells, bases, strict=True)]


@dataclass(frozen=True)
class _Table:
    """The content of a table, which can be written in any style.

    Attributes:
        spec: the table.
        radii: radii of the columns, in [0,1] pixel units.
        sections: the measured rows, the rows of the paper, or both in this order.
        caption: text above the table.
        notes: texts below the table.
        with_source: whether a first column says where each row is from.
    """

    spec: Spec
    radii: Sequence[float]
    sections: Sequence[Section]
    caption: str
    notes: Sequence[str]
    with_source: bool

    def written(self, style: str) -> str:
        """Return the table in one of :data:`dmaelab.analysis.tables.FORMATS`."""
        if style == "json":
            return self._json()
        return render(self._csv_grid() if style == "csv" else self._text_grid(style), style)

    def _text_grid(self, style: str) -> Grid:
        """Return the grid of text, Markdown and LaTeX.

        Only the first row of a block contains the name of the block. Marks and gaps stand in the cell of their entry.
        """
        lines: list[list[str | Entry]] = []
        blocks = []
        for rows in self.sections:
            before = None
            for row, marks in zip(rows, ranks(self.spec, rows), strict=True):
                first, *rest = row.lead
                if before is None or (self.spec.blocks and first != before):
                    blocks.append(len(lines))
                elif self.spec.blocks:
                    first = ""
                elif first.startswith(f"{before} + "):
                    first = first.removeprefix(f"{before} ")
                before = row.lead[0]
                entries = [
                    Entry(_text(cell), mark, _signed(gap))
                    for cell, mark, gap in zip(row.cells, marks, gaps(rows, row), strict=True)
                ]
                lines.append([*self._source_cell(row), first, *rest, *entries])
        heads = self._heads()
        columns = [*heads, *(f"r={float(radius)}" for radius in self.radii)]
        # LaTeX numbers tables itself.
        caption = self.caption if style == "latex" else f"Table {self.spec.number}. {self.caption}"
        return Grid(columns, lines, left=len(heads), blocks=blocks[1:], caption=caption, notes=self.notes)

    def _csv_grid(self) -> Grid:
        """Return the grid of CSV, in percent: a column for every kind of number that any row has.

        A cell is empty if its row has no such number.
        """
        rows = [(row, dict(_numbers(self.radii, rows, row))) for rows in self.sections for row in rows]
        used = {name.partition(" ")[2] for _, numbers in rows for name in numbers}
        kinds = ["", *(f" {kind}" for kind in _CSV_KINDS if kind in used)]
        columns = [f"r={float(radius)}{kind}" for radius in self.radii for kind in kinds]
        lines = [
            [*self._source_cell(row), *row.lead, *(numbers.get(name, "") for name in columns)] for row, numbers in rows
        ]
        return Grid([*self._heads(), *columns], lines)

    def _json(self) -> str:
        """Return everything that a script needs: shares from 0 to 1, counts, logs and their settings."""
        rows: list[dict[str, Any]] = []
        for section in self.sections:
            rows += _records(self.spec, self.radii, section, len(rows))
        table = {
            "table": self.spec.number,
            "caption": self.caption,
            "radii": list(self.radii),
            "rows": rows,
            "notes": self.notes,
        }
        return json.dumps(table, indent=2)

    def _heads(self) -> list[str]:
        """Return the heads of the leading columns."""
        heads = [head for head, _ in self.spec.lead]
        return ["Source", *heads] if self.with_source else heads

    def _source_cell(self, row: Row) -> list[str]:
        """Return the cell that says where a row is from, in a list; an empty list without that column."""
        return [_source(row)] if self.with_source else []


def _numbers(radii: Sequence[float], rows: Section, row: Row) -> Iterator[tuple[str, str]]:
    """Yield (column, text) for every number of a row of CSV."""
    for radius, cell, gap in zip(radii, row.cells, gaps(rows, row), strict=True):
        if cell is None:
            continue
        column = f"r={float(radius)}"
        if cell.zero:
            yield f"{column} beyond cap", "yes"
        if not cell.exact:
            yield f"{column} lower bound", "yes"
        low, high = cell.interval or (None, None)
        for kind, share in (("", cell.share), (" gap", gap), (" sd", cell.spread), (" low", low), (" high", high)):
            if share is not None:
                yield f"{column}{kind}", f"{100 * share:.6g}"


def _source(row: Row) -> str:
    return "paper" if row.printed else "measured"


def _text(cell: Cell | None) -> str:
    """Return an entry in percent, with its standard deviation over seeds or its interval."""
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
    """Return a gap in percentage points with its sign; an empty text if there is no gap."""
    # Adding 0.0 turns -0.0 into 0.0.
    return "" if share is None else f"{round(100 * share, 1) + 0.0:+.1f}"


def _records(spec: Spec, radii: Sequence[float], rows: Section, start: int) -> Iterator[dict[str, Any]]:
    """Yield the JSON record of each row of a section, whose first row has the index ``start`` in the table."""
    for row, marks in zip(rows, ranks(spec, rows), strict=True):
        yield {
            "source": _source(row),
            **{head: text for (head, _), text in zip(spec.lead, row.lead, strict=True)},
            "labels": row.facts,
            "compared_with": None if row.base is None else start + row.base,
            "cells": [
                None if cell is None else _cell_record(radius, cell, mark, gap)
                for radius, cell, mark, gap in zip(radii, row.cells, marks, gaps(rows, row), strict=True)
            ],
            "logs": [_log(measurement) for measurement in row.measured],
        }


def _cell_record(radius: float, cell: Cell, mark: str, gap: float | None) -> dict[str, Any]:
    """Return the JSON record of an entry."""
    return {
        "radius": radius,
        "share": cell.share,
        "sd": cell.spread,
        "interval": cell.interval,
        "gap": gap,
        "mark": mark,
        "beyond_cap": cell.zero,
        "lower_bound": not cell.exact,
        "logs": [
            {**_log(measurement), "count": count} for measurement, count in zip(cell.measured, cell.counts, strict=True)
        ],
    }


def _log(measurement: Measurement) -> dict[str, Any]:
    """Return the JSON record of a log: its path, number of images, labels and settings."""
    return {"path": str(measurement.log.path), "images": len(measurement.log), **measurement.labels}
