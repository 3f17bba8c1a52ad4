"""Certified-accuracy curves of many logs in one picture."""

import os
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmaelab.analysis.figure import NORMS, check_suffix, named, new_figure, save, tidy
from dmaelab.analysis.summary import certified_counts, check_radii
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import proportion_interval

# Okabe and Ito's colours, told apart by colour-blind readers; with the line styles 28 different curves.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":")

# A legend of more or longer names would cover the curves: it goes below them.
_INSIDE, _SHORT = 6, 32
_WIDTH = 92  # characters of small print across the picture


def plot_certified_accuracy(logs: Sequence[tuple[str, Log]], path: str | os.PathLike, title: str = "") -> None:
    """Write a picture of certified accuracy over the radius, a curve with its exact 95 % band for each log.

    The curves are the exact step functions, not samples on a grid. Those of sequential logs are named as lower bounds:
    between the radii that they sampled for, all samples would give more.

    Args:
        logs: (label, log) in the order of the legend, at least one.
        path: of the picture, PNG or SVG by the end of its name.
        title: over the picture.

    Raises:
        UserError: another end of the name, a log of PREDICT, or matplotlib is not installed.
    """
    check_suffix(path)
    for _, log in logs:
        check_radii(log)
    norms = {log.norm for _, log in logs}
    names = [named(label, log, [log.norm] * (len(norms) > 1)) for label, log in logs]
    longest = max(map(len, names))
    below = len(names) > _INSIDE or longest > _SHORT
    columns = 4 if longest <= _SHORT // 2 else 2 if longest <= _SHORT else 1
    names = [textwrap.fill(name, _WIDTH, subsequent_indent="  ") for name in names]
    rows = sum(1 + name.count("\n") for name in names) / columns if below else 0
    figure = new_figure(5.6, 3.8 + 0.18 * rows)
    axes = figure.add_subplot()
    band = 0.13 if len(logs) <= _INSIDE else 0.07
    reach = max(
        _curve(axes, number, log, name, band) for number, (name, (_, log)) in enumerate(zip(names, logs, strict=True))
    )
    norm = NORMS[norms.pop()] + " " if len(norms) == 1 else ""
    axes.set(xlabel=f"{norm}radius (pixels in [0, 1])", ylabel="certified accuracy (%)")
    axes.set_title(textwrap.fill(title, 68), fontsize="medium", parse_math=False)
    axes.set(xlim=(0, 1.03 * reach or 1), ylim=(0, 100))
    tidy(axes)
    if below:
        legend = figure.legend(
            loc="outside lower left", ncols=columns, frameon=False, fontsize="small" if columns > 1 else "x-small"
        )
    else:
        legend = axes.legend(frameon=False, fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a label with dollar signs is no formula
    save(figure, path)


def _curve(axes: Any, number: int, log: Log, label: str, band: float) -> float:
    """Draw one log with its band, in the number-th style; return the radius where its curve ends."""
    radii, share, low, high = _steps(log)
    colour, line = _COLOURS[number % len(_COLOURS)], _LINES[number // len(_COLOURS) % len(_LINES)]
    axes.plot(radii, 100 * share, line, color=colour, label=label, drawstyle="steps-pre", linewidth=1.6)
    axes.fill_between(radii, 100 * low, 100 * high, step="pre", color=colour, alpha=band, linewidth=0)
    return float(radii[-1])


def _steps(log: Log) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the radii where the curve steps, and up to each its share and the ends of its interval.

    The last radius stands twice: the curve ends in a vertical line down to 0.
    """
    steps = np.unique(log.radius[log.correct])
    radii = np.concatenate([[0.0], steps])
    counts = np.append(certified_counts(log, radii), 0)
    return np.append(radii, radii[-1]), counts / len(log), *proportion_interval(counts, len(log))
