"""Certified-accuracy curves of many logs in one picture."""

import os
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmaelab.analysis.summary import certified_counts
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import proportion_interval
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import atomic_write

# Okabe and Ito's colours, told apart by colour-blind readers; with the line styles 28 different curves.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":")
_NORMS = {"l2": r"$\ell_2$", "l1": r"$\ell_1$", "linf": r"$\ell_\infty$"}


def plot_certified_accuracy(logs: Sequence[tuple[str, Log]], path: str | os.PathLike, title: str = "") -> None:
    """Write a PNG of certified accuracy over the radius, a curve with its exact 95 % band for each log.

    The curves are the exact step functions, not samples on a grid.

    Args:
        logs: (label, log) in the order of the legend, at least one.
        path: of the PNG.
        title: over the picture.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = _new_figure()
    axes = figure.add_subplot()
    reach = 0.0
    for number, (label, log) in enumerate(logs):
        radii, share, low, high = _steps(log)
        reach = max(reach, radii[-1])
        colour, line = _COLOURS[number % len(_COLOURS)], _LINES[number // len(_COLOURS) % len(_LINES)]
        axes.plot(radii, 100 * share, line, color=colour, label=label, drawstyle="steps-pre", linewidth=1.6)
        axes.fill_between(radii, 100 * low, 100 * high, step="pre", color=colour, alpha=0.13, linewidth=0)
    norms = {log.header["identity"].get("norm") for _, log in logs if log.header}
    norm = _NORMS.get(norms.pop(), "") + " " if len(norms) == 1 else ""
    axes.set(xlabel=f"{norm}radius (pixels in [0, 1])", ylabel="certified accuracy (%)")
    axes.set_title(textwrap.fill(title, 68), fontsize="medium")
    axes.set(xlim=(0, 1.03 * reach or 1), ylim=(0, 100))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=160))


def _steps(log: Log) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the radii where the curve steps, and up to each its share and the ends of its interval.

    The last radius stands twice: the curve ends in a vertical line down to 0.
    """
    steps = np.unique(log.radius[log.correct])
    radii = np.concatenate([[0.0], steps])
    counts = np.append(certified_counts(log, radii), 0)
    return np.append(radii, radii[-1]), counts / len(log), *proportion_interval(counts, len(log))


def _new_figure() -> Any:
    """Return a figure with a canvas of its own: no window, no global state of pyplot."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("curves need matplotlib: pip install 'dmaelab[demo]'") from None
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
