"""Writes all results of a folder to one page of Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.gpu.record import Figures
from dmaelab.utils.files import write_text

_REMARKS = ("skipped", "error", "out of memory at")


def write_report(folder: Path, phases: Sequence[str]) -> None:
    """Write ``gpu.md`` from the JSON files of these phases."""
    found = {name: json.loads(path.read_text()) for name in phases if (path := folder / f"{name}.json").exists()}
    facts = next(iter(found.values()))["run"]
    lines = ["# On " + facts["device"], "", ", ".join(f"{key} {value}" for key, value in facts.items()), ""]
    for name in phases:
        lines += [f"## {name}", "", *(section(found[name]) if name in found else ["not run", ""])]
    write_text(folder / "gpu.md", "\n".join(lines))


def section(phase: dict[str, Any]) -> list[str]:
    """Return the lines of one phase: its status, a table for all rows with the same columns, texts, and failures."""
    lines = [f"{phase['status']} ({phase.get('seconds', 0)} s)", ""]
    rows = [row for name, figures in phase["measurements"].items() for row in _rows(name, figures)]
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for name, figures in rows:
        columns = tuple(key for key, value in figures.items() if key not in _REMARKS and not _is_text(value))
        tables.setdefault(columns, []).append([name, *(_cell(figures[column]) for column in columns)])
    for columns, cells in tables.items():
        if columns:
            lines += [tabulate(cells, ["", *columns], tablefmt="pipe", disable_numparse=True), ""]
    for name, figures in rows:
        lines += [f"* {name}: {remark}: {_cell(figures[remark])}" for remark in _REMARKS if remark in figures]
        for key, text in figures.items():
            lines += ["", f"{name}, {key}:", "", "```", text, "```", ""] if _is_text(text) else []
    return [*lines, ""]


def _rows(name: str, figures: Figures) -> list[tuple[str, Figures]]:
    """Return (name, figures) for each row of a measurement."""
    inner = [(f"{name}, {key}", value) for key, value in figures.items() if isinstance(value, dict)]
    own = {key: value for key, value in figures.items() if not isinstance(value, dict)}
    return [*inner, *([(name, own)] if own else [])]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if type(value) is int else str(value)
