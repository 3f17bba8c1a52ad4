"""A grid of text as a table: plain text, Markdown, LaTeX (booktabs) or CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import SEPARATING_LINE, tabulate

STYLES = ("text", "markdown", "latex", "csv")

_MARKS = {
    "text": {"best": "{}**", "second": "{}*", "bold": "{}**"},
    "markdown": {"best": r"**{}**\*\*", "second": r"{}\*", "bold": "**{}**"},
    "latex": {"best": r"\textbf{{{}}}$^{{**}}$", "second": "{}$^{{*}}$", "bold": r"\textbf{{{}}}"},
    "csv": {},
}
_MARKDOWN = {"|": r"\|", "*": r"\*", "\n": " "}
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "<": "$<$", ">=": r"$\ge$", ">": "$>$", "±": r"$\pm$", "†": r"$\dagger$", "\n": " ",
    "[": "{[}",  # would be an argument of the command before it
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A cell with more than its text: its mark (``"best"``, ``"second"``, ``"bold"`` or none) and what follows in
    brackets.
    """

    text: str
    mark: str = ""
    gap: str = ""


@dataclass(frozen=True)
class Grid:
    """What is laid out.

    Attributes:
        heads: of all columns.
        rows: cells, text or :class:`Entry`.
        left: how many leading columns are flush left; the others are figures, flush right.
        blocks: positions of rows before which a line is drawn, where a style has one.
        caption: above the table.
        notes: below it.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str | Entry]]
    left: int = 1
    blocks: Sequence[int] = ()
    caption: str = ""
    notes: Sequence[str] = ()


def render(grid: Grid, style: str) -> str:
    """Return the table in one of :data:`STYLES`, without a line break at its end; CSV has neither caption nor notes."""
    rows = [[_cell(cell, style) for cell in row] for row in grid.rows]
    heads = [_escape(head, style) for head in grid.heads]
    if style == "csv":
        return _csv([heads, *rows])
    if style == "latex":
        return _latex(grid, heads, rows)
    if style == "text":
        for place in sorted(grid.blocks, reverse=True):
            rows.insert(place, SEPARATING_LINE)
    align = ["left"] * grid.left + ["right"] * (len(heads) - grid.left)
    table = tabulate(
        rows, heads, tablefmt="simple" if style == "text" else "pipe", disable_numparse=True, colalign=align
    )
    notes = [_escape(note, style) for note in grid.notes]
    paragraphs = [_escape(grid.caption, style), table, *(notes if style == "markdown" else ["\n".join(notes)])]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _latex(grid: Grid, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a ``table`` for the package booktabs."""
    lines = [" & ".join(row) + r" \\" for row in rows]
    for place in sorted(grid.blocks, reverse=True):
        lines.insert(place, r"\midrule")
    columns = "l" * grid.left + "r" * (len(heads) - grid.left)
    tabular = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", " & ".join(heads) + r" \\", r"\midrule", *lines]
    tabular += [r"\bottomrule", r"\end{tabular}"]
    caption = [f"\\caption{{{_escape(grid.caption, 'latex')}}}"] if grid.caption else []
    notes = [f"\\par\\smallskip{{\\footnotesize {_escape(note, 'latex')}}}" for note in grid.notes]
    return "\n".join([r"\begin{table}", r"\centering", *caption, *tabular, *notes, r"\end{table}"])


def _csv(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().removesuffix("\n")


def _cell(cell: str | Entry, style: str) -> str:
    if isinstance(cell, str):
        return _escape(cell, style)
    text = _MARKS[style].get(cell.mark, "{}").format(_escape(cell.text, style))
    if not cell.gap:
        return text
    return f"{text} $_{{({cell.gap})}}$" if style == "latex" else f"{text} ({cell.gap})"


def _escape(text: str, style: str) -> str:
    """Return the text so that it reads the same in a style; one pass, since what replaces a mark holds others."""
    marks = {"markdown": _MARKDOWN, "latex": _LATEX}.get(style, {})
    out, place = [], 0
    while place < len(text):
        mark = next((mark for mark in (text[place : place + 2], text[place]) if mark in marks), None)
        out.append(marks[mark] if mark else text[place])
        place += len(mark or " ")
    return "".join(out)
