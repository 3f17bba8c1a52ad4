"""Pictures of logs: curves of certified accuracy, and a scatter plot of the radii of two logs."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmaelab.analysis.summary import certified_counts, certified_radius, check_radii, sampled_for
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import proportion_interval
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import atomic_write

SUFFIXES = (".png", ".svg")
_NORMS = {"l2": r"$\ell_2$", "l1": r"$\ell_1$", "linf": r"$\ell_\infty$", "l0": r"$\ell_0$"}

# Colours of Okabe and Ito, which colour-blind readers can tell apart. With the line styles they make 28 curves.
_BLUE, _RED, _GREEN = "#0072B2", "#D55E00", "#009E73"
_COLOURS = (_BLUE, _RED, _GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":")

# A legend with more names than this, or with a longer name (in characters), is drawn below the curves. It would cover
# them.
_INSIDE, _SHORT = 6, 32
_WIDTH = 92  # characters of small print across the picture

# More points than this would hide each other. They are drawn smaller, and as pixels in an SVG.
_MANY = 2000


def plot_certified_accuracy(logs: Sequence[tuple[str, Log]], path: str | os.PathLike, title: str = "") -> None:
    """Write a picture of certified accuracy over the radius: for each log a curve with its exact 95 % band.

    The curves are the exact step functions, not samples on a grid. The legend calls the curve of a sequential log a
    lower bound, because with all samples the log would certify more between the radii that it sampled for.

    Args:
        logs: (label, log) in the order of the legend, at least one.
        path: path of the picture; its suffix chooses the format, ``.png`` or ``.svg``.
        title: title above the picture.

    Raises:
        UserError: the suffix is another one, a log is one of PREDICT and has no radii, or matplotlib is not installed.
    """
    _format_of(path)
    for _, log in logs:
        check_radii(log)
    norms = {log.norm for _, log in logs}
    names = [_legend_name(label, log, with_norm=len(norms) > 1) for label, log in logs]
    longest = max(map(len, names))
    columns = 4 if longest <= _SHORT // 2 else 2 if longest <= _SHORT else 1
    below = len(names) > _INSIDE or longest > _SHORT
    names = [textwrap.fill(name, _WIDTH, subsequent_indent="  ") for name in names]
    legend_rows = sum(1 + name.count("\n") for name in names) / columns if below else 0
    figure = _new_figure(5.6, 3.8 + 0.18 * legend_rows)
    axes = figure.add_subplot()
    band = 0.13 if len(logs) <= _INSIDE else 0.07
    reach = max(
        _curve(axes, number, log, name, band) for number, (name, (_, log)) in enumerate(zip(names, logs, strict=True))
    )
    norm = _NORMS[norms.pop()] + " " if len(norms) == 1 else ""
    axes.set(xlabel=f"{norm}radius (pixels in [0, 1])", ylabel="certified accuracy (%)")
    unbroken = title.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")  # no line ends inside "n0 = 100"
    axes.set_title(textwrap.fill(unbroken, 68), fontsize="medium", parse_math=False)
    axes.set(xlim=(0, 1.03 * reach or 1), ylim=(0, 100))
    _tidy(axes)
    if below:
        size = "small" if columns > 1 else "x-small"
        legend = figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=size)
    else:
        legend = axes.legend(frameon=False, fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a label with dollar signs is not a formula
    _save(figure, path)


def _curve(axes: Any, number: int, log: Log, label: str, band: float) -> float:
    """Draw the curve of one log and its 95 % band of opacity ``band``; return the radius where the curve ends.

    ``number`` is the position of the log. It chooses the colour and the line style.
    """
    radii, share, low, high = _steps(log)
    colour, line = _COLOURS[number % len(_COLOURS)], _LINES[number // len(_COLOURS) % len(_LINES)]
    axes.plot(radii, 100 * share, line, color=colour, label=label, drawstyle="steps-pre", linewidth=1.6)
    axes.fill_between(radii, 100 * low, 100 * high, step="pre", color=colour, alpha=band, linewidth=0)
    return float(radii[-1])


def _steps(log: Log) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the curve of a log: radii, shares, lower and upper ends of their 95 % intervals, float64 [steps].

    Each share holds from the previous radius (excluded) to its own (included). The last radius is repeated, so that the
    curve ends in a vertical line down to 0.
    """
    steps = np.unique(log.radius[log.correct])
    radii = np.concatenate([[0.0], steps])
    counts = np.append(certified_counts(log, radii), 0)
    return np.append(radii, radii[-1]), counts / len(log), *proportion_interval(counts, len(log))


def plot_radii(a: tuple[str, Log], b: tuple[str, Log], path: str | os.PathLike) -> None:
    """Write a scatter plot: a point for each image, at its certified radius in log a and in log b.

    The radius is 0 where the prediction is wrong or an abstention. The legend counts the images that have a radius
    above 0 in both logs, in only one of them, and in none.

    Args:
        a: (label, log), along the horizontal axis.
        b: (label, log) of the same images in the same order, see :func:`dmaelab.analysis.compare.align`.
        path: path of the picture; its suffix chooses the format, ``.png`` or ``.svg``.

    Raises:
        UserError: the suffix is another one, or matplotlib is not installed.
    """
    _format_of(path)
    x, y = certified_radius(a[1]), certified_radius(b[1])
    figure = _new_figure(4.8, 5.6)
    axes = figure.add_subplot()
    end = 1.04 * max(x.max(), y.max()) or 1
    axes.plot([0, end], [0, end], color="0.6", linewidth=0.9, zorder=1)
    groups = [
        ("both", (x > 0) & (y > 0), _BLUE),
        ("only A", (x > 0) & (y == 0), _RED),
        ("only B", (x == 0) & (y > 0), _GREEN),
        ("neither", (x == 0) & (y == 0), "0.4"),
    ]
    many = len(x) > _MANY
    for name, rows, colour in groups:
        alpha = (0.2 if many else 0.45) if name == "both" else 0.8  # the other groups lie on the axes
        axes.scatter(
            x[rows], y[rows], s=6 if many else 10, color=colour, alpha=alpha, linewidths=0, clip_on=False, zorder=3,
            label=f"{name}: {rows.sum()}", rasterized=many,
        )  # fmt: skip
    axes.set_xlabel(textwrap.fill(f"A: {_legend_name(*a)}", 50), fontsize="small", parse_math=False)
    axes.set_ylabel(textwrap.fill(f"B: {_legend_name(*b)}", 50), fontsize="small", parse_math=False)
    axes.set_title(f"certified {_NORMS[a[1].norm]} radius of {len(x)} images", fontsize="medium")
    axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    _tidy(axes)
    legend = figure.legend(
        loc="outside lower center", ncols=4, frameon=False, fontsize="small", handletextpad=0.1, columnspacing=1.2,
        title=f"larger in B: {np.sum(y > x)}, larger in A: {np.sum(x > y)}, equal: {np.sum(x == y)}",
        title_fontsize="small",
    )  # fmt: skip
    for handle in legend.legend_handles:
        handle.set(alpha=1, sizes=[22])
    _save(figure, path, trim=True)


def _new_figure(width: float, height: float) -> Any:
    """Return a matplotlib figure of a size in inches, with its own canvas. It needs no window and no pyplot.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("pictures need matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend_name(label: str, log: Log, with_norm: bool = False) -> str:
    """Return the name of a log in a figure: its label, and in brackets its norm and whether it is a lower bound."""
    notes = [log.norm] if with_norm else []
    if sampled_for(log) is not None:
        notes.append("lower bound, sampled for some radii")
    return f"{label} ({', '.join(notes)})" if notes else label


def _format_of(path: str | os.PathLike) -> str:
    """Return the format that the suffix of a path chooses, ``"png"`` or ``"svg"``; ``UserError`` for other suffixes."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: a picture's name ends in {' or '.join(SUFFIXES)}")
    return suffix[1:]


def _save(figure: Any, path: str | os.PathLike, trim: bool = False) -> None:
    """Write a figure to a file in one step; ``trim`` cuts off white margins."""
    kind, box = _format_of(path), "tight" if trim else None
    atomic_write(path, lambda file: figure.savefig(file, format=kind, dpi=160, bbox_inches=box))


def _tidy(axes: Any) -> None:
    """Draw a pale grid behind the data, and remove the top and the right border."""
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
