"""Layout of a grid of cells as a table in plain text, Markdown, LaTeX (booktabs) or CSV."""

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
    "[": "{[}",  # after a command, a bare [ would begin its optional argument
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A cell with a mark or a text in brackets.

    Attributes:
        text: the text of the cell.
        mark: ``"best"``, ``"second"``, ``"bold"``, or empty.
        gap: the text in brackets after it, or empty.
    """

    text: str
    mark: str = ""
    gap: str = ""


@dataclass(frozen=True)
class Grid:
    """A table that can be rendered in any style.

    Attributes:
        heads: names of the columns.
        rows: the cells of each row, texts or :class:`Entry`.
        left: number of leading columns that are aligned left. The others contain numbers and are aligned right.
        blocks: indices of rows above which text and LaTeX draw a line.
        caption: text above the table.
        notes: texts below the table.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str | Entry]]
    left: int = 1
    blocks: Sequence[int] = ()
    caption: str = ""
    notes: Sequence[str] = ()


def render(grid: Grid, style: str) -> str:
    """Return the table in one of :data:`STYLES`, without a final line break. CSV has neither caption nor notes."""
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
    """Return a LaTeX ``table`` that needs the package booktabs."""
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
    """Return the text of a cell in a style, with its mark and its gap."""
    if isinstance(cell, str):
        return _escape(cell, style)
    text = _MARKS[style].get(cell.mark, "{}").format(_escape(cell.text, style))
    if not cell.gap:
        return text
    return f"{text} $_{{({cell.gap})}}$" if style == "latex" else f"{text} ({cell.gap})"


def _escape(text: str, style: str) -> str:
    """Return the text with the special characters of a style escaped."""
    # One pass, because the replacement of one character may contain another special character.
    marks = {"markdown": _MARKDOWN, "latex": _LATEX}.get(style, {})
    out, place = [], 0
    while place < len(text):
        mark = next((mark for mark in (text[place : place + 2], text[place]) if mark in marks), None)
        out.append(marks[mark] if mark else text[place])
        place += len(mark or " ")
    return "".join(out)
