"""Two logs of the same images in one picture: the certified radius of each image under either."""

import os
import textwrap

import numpy as np

from dmaelab.analysis.figure import NORMS, check_suffix, named, new_figure, save, tidy
from dmaelab.analysis.summary import certified_radius
from dmaelab.records.readers import Log

# So many points hide each other, and in an SVG they are better held as one picture.
_MANY = 2000


def plot_radii(a: tuple[str, Log], b: tuple[str, Log], path: str | os.PathLike) -> None:
    """Write a scatter of the certified radii of a's images against b's, 0 where wrong or abstained.

    The legend counts the images certified by both, by one of the two and by none, with a radius above 0.

    Args:
        a: (label, log), along the horizontal axis.
        b: (label, log) of the same images in the same order, see :func:`dmaelab.analysis.compare.align`.
        path: of the picture, PNG or SVG by the end of its name.

    Raises:
        UserError: another end of the name, or matplotlib is not installed.
    """
    check_suffix(path)
    x, y = certified_radius(a[1]), certified_radius(b[1])
    figure = new_figure(4.8, 5.6)
    axes = figure.add_subplot()
    end = 1.04 * max(x.max(), y.max()) or 1
    axes.plot([0, end], [0, end], color="0.6", linewidth=0.9, zorder=1)
    groups = [
        ("both", (x > 0) & (y > 0), "#0072B2"),
        ("only A", (x > 0) & (y == 0), "#D55E00"),
        ("only B", (x == 0) & (y > 0), "#009E73"),
        ("neither", (x == 0) & (y == 0), "0.4"),
    ]
    many = len(x) > _MANY
    for name, rows, colour in groups:
        alpha = (0.2 if many else 0.45) if name == "both" else 0.8  # the others lie on the axes
        axes.scatter(
            x[rows], y[rows], s=6 if many else 10, color=colour, alpha=alpha, linewidths=0, clip_on=False, zorder=3,
            label=f"{name}: {rows.sum()}", rasterized=many,
        )  # fmt: skip
    axes.set_xlabel(textwrap.fill(f"A: {named(*a)}", 50), fontsize="small", parse_math=False)
    axes.set_ylabel(textwrap.fill(f"B: {named(*b)}", 50), fontsize="small", parse_math=False)
    axes.set_title(f"certified {NORMS[a[1].norm]} radius of {len(x)} images", fontsize="medium")
    axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    tidy(axes)
    legend = figure.legend(
        loc="outside lower center", ncols=4, frameon=False, fontsize="small", handletextpad=0.1, columnspacing=1.2,
        title=f"larger in B: {np.sum(y > x)}, larger in A: {np.sum(x > y)}, equal: {np.sum(x == y)}",
        title_fontsize="small",
    )  # fmt: skip
    for handle in legend.legend_handles:
        handle.set(alpha=1, sizes=[22])
    save(figure, path, trim=True)
