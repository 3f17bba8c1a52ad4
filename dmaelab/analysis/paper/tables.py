"""The tables of the paper from certification logs, in its layout: text, Markdown, LaTeX, CSV or JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dmaelab.analysis.layout import render
from dmaelab.analysis.paper.cells import Measurement
from dmaelab.analysis.paper.grid import Section, for_a_spreadsheet, for_the_eye, gaps, ranks
from dmaelab.analysis.paper.notes import notes_on
from dmaelab.analysis.paper.published import NOTES
from dmaelab.analysis.paper.rows import measured_rows, paper_rows
from dmaelab.analysis.paper.specs import SPECS, Spec
from dmaelab.analysis.summary import check_grid
from dmaelab.analysis.tables import FORMATS
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import METHODS
from dmaelab.utils.errors import UserError

NUMBERS = tuple(SPECS)


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

    Certified accuracy is in percent of all images. Logs that differ in their seed alone make one row: mean and standard
    deviation. ``0`` stands where n samples cannot certify so large a radius at all. JSON holds shares, counts and logs;
    CSV has columns of their own for what is beyond the cap, lower bounds, gaps, deviations and intervals, and no notes.

    Args:
        number: one of :data:`NUMBERS`.
        logs: whose headers hold the labels of :data:`dmaelab.analysis.labels.KEYS`, see
            :func:`~dmaelab.analysis.labels.relabel`.
        style: one of :data:`dmaelab.analysis.tables.FORMATS`.
        radii: of the columns, [0,1] pixel units; those of the paper by default.
        intervals: add 95 % confidence intervals to entries of one log.
        method: of these intervals.
        partial: print a table whose gaps lack rows, "-" in their place.
        paper: add what the paper prints, as rows of their own that nothing measured is ranked or compared with.

    Raises:
        UserError: an unknown table or style, nothing to print, and what `measured_rows` raises.
    """
    if number not in SPECS:
        raise UserError(f"table {number} is none that logs make: there are {', '.join(map(str, SPECS))}")
    if style not in FORMATS:
        raise UserError(f"table format '{style}' is unknown: use one of {', '.join(FORMATS)}")
    if not (logs or paper):
        raise UserError(f"table {number} needs logs, or paper=True (--paper) for what the paper prints")
    spec = SPECS[number]
    radii = spec.radii if radii is None else check_grid(radii)
    measured, left = (
        measured_rows(number, logs, radii, partial=partial, interval=method if intervals else None)
        if logs
        else ([], [])
    )
    sections = [rows for rows in (measured, paper_rows(number, radii) if paper else []) if rows]
    notes = [*notes_on(spec, measured, left), *([_PAPER.format(NOTES[number])] if paper else [])]
    dataset = next((f", {row.facts['dataset']}" for row in measured if "dataset" in row.facts), "")
    caption = f"Certified accuracy (%) {spec.caption}{dataset}"
    if style == "json":
        rows: list[dict[str, Any]] = []
        for section in sections:
            rows += _records(spec, radii, section, len(rows))
        return json.dumps(
            {"table": number, "caption": caption, "radii": list(radii), "rows": rows, "notes": notes}, indent=2
        )
    if style == "csv":
        return render(for_a_spreadsheet(spec, radii, sections, paper), style)
    caption = caption if style == "latex" else f"Table {number}. {caption}"
    return render(replace(for_the_eye(spec, radii, sections, paper), caption=caption, notes=notes), style)


_PAPER = "Rows of the paper: {}. Nothing measured is ranked or compared with them."


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
