"""Two logs on the same images: certified accuracy, average certified radius, and which images gain and lose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from dmaelab.analysis.summary import (
    certified_radius,
    check_radii,
    decimals,
    default_radii,
    radius_name,
    reached,
    sampled_for,
    summarize,
)
from dmaelab.analysis.views import TWO_SIDED, norm_name
from dmaelab.records.identity import NOISE, STATISTICS
from dmaelab.records.readers import Log
from dmaelab.stats.paired import bootstrap_mean, mcnemar_pvalue
from dmaelab.utils.differences import Difference, differences
from dmaelab.utils.errors import UserError

SHARED_KEYS = (*STATISTICS, *NOISE, "precision")
"""Keys of the identity that two logs should share. Otherwise not only the models cause their difference."""


@dataclass(frozen=True)
class Comparison:
    """How two logs of the same images differ.

    Attributes:
        a: the first log.
        b: the second one, with the same images in the same order.
        radii: radii at which certified accuracy was compared, in [0,1] pixel units.
        counts: number of images that a certifies, and that b certifies, at each radius.
        only: number of images that only a certifies, and that only b certifies, at each radius.
        pvalues: p-values of the exact McNemar test at each radius, not corrected for multiple tests.
        acr: average certified radius of a and of b.
        acr_interval: 95 % paired bootstrap interval of the average of b minus that of a.
        change: certified radius of b minus that of a, float64 [images]; a wrong answer or an abstention counts as
            radius 0.
    """

    a: Log
    b: Log
    radii: tuple[float, ...]
    counts: tuple[tuple[int, int], ...]
    only: tuple[tuple[int, int], ...]
    pvalues: tuple[float, ...]
    acr: tuple[float, float]
    acr_interval: tuple[float, float]
    change: np.ndarray

    def order(self) -> np.ndarray:
        """Return the positions of the images, from the largest gain of b to its largest loss; ties by index."""
        return np.lexsort((self.a.index, -self.change))


def align(a: Log, b: Log, common: bool = False) -> tuple[Log, Log]:
    """Return both logs with the same images, in ascending order of their indices.

    Args:
        a: a log.
        b: another one.
        common: leave out images that only one log has.

    Raises:
        UserError: a log is one of PREDICT, the radii are in different norms, an image has different labels, the logs
            share no image, or an image is in only one log and ``common`` is False.
    """
    for log in (a, b):
        check_radii(log)
    if a.norm != b.norm:
        raise UserError(
            f"{a.path} certifies in {a.norm} and {b.path} in {b.norm}: such radii are not comparable, give --norm"
        )
    shared, in_a, in_b = np.intersect1d(a.index, b.index, assume_unique=True, return_indices=True)
    missing = len(a) - len(shared), len(b) - len(shared)
    if not len(shared):
        raise UserError(f"{a.path} ({len(a)} images) and {b.path} ({len(b)}) have no image in common")
    if any(missing) and not common:
        raise UserError(
            f"{a.path} and {b.path} are not on the same images: {missing[0]} of {len(a)} are missing in the second, "
            f"{missing[1]} of {len(b)} in the first; --common compares the {len(shared)} that both have"
        )
    a, b = a.take(in_a), b.take(in_b)
    other = a.label != b.label
    if other.any():
        first = int(np.argmax(other))
        raise UserError(
            f"{a.path} and {b.path} are not on the same data set: {other.sum()} of {len(shared)} labels differ, "
            f"first that of image {shared[first]} ({a.label[first]} and {b.label[first]})"
        )
    return a, b


def compare(a: Log, b: Log, radii: Sequence[float] | None = None) -> Comparison:
    """Compare two aligned logs.

    Args:
        a: the first log.
        b: the second one, see :func:`align`.
        radii: radii at which to compare certified accuracy. ``None`` takes 0, and the default radii at which at least
            one log certifies an image.

    Raises:
        UserError: a radius is negative or not finite.
    """
    radii = [0.0, *reached(default_radii([a, b]), [a, b])] if radii is None else list(radii)
    counts = tuple(zip(summarize(a, radii).counts, summarize(b, radii).counts, strict=True))
    certified = [[log.correct & (log.radius >= radius) for log in (a, b)] for radius in radii]
    only = tuple((int((x & ~y).sum()), int((y & ~x).sum())) for x, y in certified)
    change = certified_radius(b) - certified_radius(a)
    return Comparison(
        a=a,
        b=b,
        radii=tuple(radii),
        counts=counts,
        only=only,
        pvalues=tuple(mcnemar_pvalue(*pair) for pair in only),
        acr=(float(certified_radius(a).mean()), float(certified_radius(b).mean())),
        acr_interval=bootstrap_mean(change),
        change=change,
    )


def different_settings(a: Log, b: Log) -> list[Difference]:
    """Return the differences of two logs in :data:`SHARED_KEYS`. Keys that only one header has are left out."""
    common = [key for key in SHARED_KEYS if key in a.identity and key in b.identity]
    return differences(*({key: log.identity[key] for key in common} for log in (a, b)))


def comparison_text(comparison: Comparison, images: int = 0) -> str:
    """Return the comparison as text: a table over the radii, the average radii, and the images that change most.

    Args:
        comparison: the comparison of two logs.
        images: number of images to list with the largest gains, and with the largest losses.

    Raises:
        UserError: the number of images is negative.
    """
    if images < 0:
        raise UserError(f"--images is {images}: give how many to list, such as 10")
    lines = [_name("A", comparison.a), _name("B", comparison.b), "", _accuracies(comparison), "", *_radii(comparison)]
    if len(comparison.radii) > 1:
        lines.append(
            f"The p-values are not corrected for their number ({len(comparison.radii)}): decide on one radius"
            " beforehand."
        )
    sampled = [radii for radii in map(sampled_for, (comparison.a, comparison.b)) if radii is not None]
    if sampled:
        bounds = [radius_name(radius) for radius in comparison.radii if not all(radius in radii for radii in sampled)]
        lines.append(
            "These are lower bounds and not comparable, because A or B did not sample for them: "
            f"{', '.join([*bounds, 'the ACR and the radius of each image'])}."
        )
    if images:
        order, change = comparison.order(), comparison.change
        gains, losses = order[change[order] > 0][:images], order[change[order] < 0][::-1][:images]
        lines += ["", f"largest gains of B ({len(gains)}):", _images(comparison, gains)] if len(gains) else []
        lines += ["", f"largest losses of B ({len(losses)}):", _images(comparison, losses)] if len(losses) else []
    return "\n".join(lines)


def image_rows(
    comparison: Comparison, rows: np.ndarray | None = None, number: str = ""
) -> tuple[list[str], list[list[str]]]:
    """Return a table with a row for each image: the names of its columns, and its rows of cells.

    Args:
        comparison: the comparison of two logs.
        rows: positions of the images, int64; None takes all, the largest gain first.
        number: format of radii, such as ``".3f"``; empty gives all digits.
    """
    rows = comparison.order() if rows is None else rows
    columns = {"idx": comparison.a.index, "label": comparison.a.label}
    for name, log in (("a", comparison.a), ("b", comparison.b)):
        columns |= {
            f"predict_{name}": log.prediction,
            f"radius_{name}": log.radius,
            f"correct_{name}": log.correct.astype(int),
        }
    columns["change"] = comparison.change
    texts = [
        [format(value, number if column.dtype.kind == "f" else "") for value in column[rows].tolist()]
        for column in columns.values()
    ]
    return list(columns), [list(cells) for cells in zip(*texts, strict=True)]


def _name(letter: str, log: Log) -> str:
    """Return the line that names a log."""
    norm = norm_name(log)
    return f"{letter}: {log.path}" if norm == "l2" else f"{letter}: {log.path} ({norm})"


def _radii(comparison: Comparison) -> list[str]:
    """Return two lines: the average certified radii, and how many images have a larger radius in A and in B."""
    digits, change = decimals(comparison.a.norm), comparison.change
    kind = comparison.a.norm + (", two-sided" if comparison.a.radius_column == TWO_SIDED else "")
    (a, b), (low, high) = comparison.acr, comparison.acr_interval
    return [
        f"ACR: A {a:.{digits}f}, B {b:.{digits}f}, B - A {b - a:+.{digits}f} "
        f"[{low:+.{digits}f}, {high:+.{digits}f}] (95 % paired bootstrap)",
        f"certified radius ({kind}) of {len(change)} images: {(change > 0).sum()} larger in B, "
        f"{(change < 0).sum()} larger in A, {(change == 0).sum()} equal",
    ]


def _accuracies(comparison: Comparison) -> str:
    """Return the table over the radii, with shares in percent."""
    n = len(comparison.change)
    rows = [
        [
            radius_name(radius),
            f"{100 * a / n:.1f}",
            f"{100 * b / n:.1f}",
            f"{100 * (b - a) / n:+.1f}",
            only_a,
            only_b,
            f"{pvalue:.2g}",
        ]
        for radius, (a, b), (only_a, only_b), pvalue in zip(
            comparison.radii, comparison.counts, comparison.only, comparison.pvalues, strict=True
        )
    ]
    headers = [f"{comparison.a.norm} radius", "A", "B", "B - A", "only A", "only B", "McNemar p"]
    return tabulate(rows, headers, disable_numparse=True, colalign=["right"] * len(headers))


def _images(comparison: Comparison, rows: np.ndarray) -> str:
    """Return the table of the images at these positions."""
    headers, cells = image_rows(comparison, rows, f".{decimals(comparison.a.norm)}f")
    return tabulate(cells, headers, disable_numparse=True, colalign=["right"] * len(headers))
