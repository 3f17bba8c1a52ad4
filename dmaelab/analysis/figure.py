"""What all pictures share: a figure without a window, the file it goes to, and what they call a log."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmaelab.analysis.summary import sampled_for
from dmaelab.records.readers import Log
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import atomic_write

SUFFIXES = (".png", ".svg")
NORMS = {"l2": r"$\ell_2$", "l1": r"$\ell_1$", "linf": r"$\ell_\infty$", "l0": r"$\ell_0$"}


def new_figure(width: float, height: float) -> Any:
    """Return a matplotlib figure with a canvas of its own, in inches: no window, no global state of pyplot.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("pictures need matplotlib: pip install 'dmaelab[demo]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def named(label: str, log: Log, notes: Sequence[str] = ()) -> str:
    """Return what a picture calls a log: its label, its notes, and whether its radii are lower bounds."""
    notes = [*notes, *["lower bound, sampled for some radii"] * (sampled_for(log) is not None)]
    return f"{label} ({', '.join(notes)})" if notes else label


def check_suffix(path: str | os.PathLike) -> str:
    """Return the format of a picture, ``"png"`` or ``"svg"``, by the end of its name.

    Raises:
        UserError: the name ends in neither.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: a picture's name ends in {' or '.join(SUFFIXES)}")
    return suffix[1:]


def save(figure: Any, path: str | os.PathLike, trim: bool = False) -> None:
    """Write a figure, atomically, without white margins if ``trim``; ``UserError`` as in :func:`check_suffix`."""
    kind = check_suffix(path)
    atomic_write(path, lambda file: figure.savefig(file, format=kind, dpi=160, bbox_inches="tight" if trim else None))


def tidy(axes: Any) -> None:
    """Leave a pale grid behind what is drawn, and two of the four spines."""
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
