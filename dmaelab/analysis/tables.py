"""Tables of several logs, one row per log, as text, Markdown, LaTeX, CSV or JSON."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dmaelab.analysis.layout import STYLES, Grid, render
from dmaelab.analysis.summary import Summary, certified_radius, decimals, default_radii, radius_name, reached, summarize
from dmaelab.analysis.views import TWO_SIDED, in_norm, native_norm, norm_name
from dmaelab.records.folders import LOGS_FOLDER
from dmaelab.records.labels import NAME
from dmaelab.records.readers import Log, find_logs, read_log
from dmaelab.utils.errors import UserError

FORMATS = (*STYLES, "json")


def default_label(log: Log) -> str:
    """Return the name of a log in a table: the label in its header, else ``run/name``, else its file name."""
    # Only .tsv is removed: a name such as noise_0.25 has a dot, but no suffix.
    name = log.path.name.removesuffix(".tsv")
    path = log.path.resolve()
    if log.header is not None and path.parent.name == LOGS_FOLDER:
        name = f"{path.parent.parent.name}/{path.name}"
    return str(log.labels.get(NAME, name))


def labelled_logs(paths: Sequence[str | os.PathLike], labels: Sequence[str] | None = None) -> list[tuple[str, Log]]:
    """Return (label, log) for every log found at ``paths``, in their order.

    Args:
        paths: logs, or folders of logs.
        labels: one label for each log. None takes :func:`default_label`, and the path of a log if two logs have the
            same default label.

    Raises:
        UserError: there is no log at a path, or there are more or fewer labels than logs.
    """
    logs = [read_log(found) for path in paths for found in find_logs(path)]
    if labels is None:
        names = [default_label(log) for log in logs]
        labels = [name if names.count(name) == 1 else str(log.path) for name, log in zip(names, logs, strict=True)]
    if len(labels) != len(logs):
        raise UserError(
            f"--labels has {len(labels)} names for {len(logs)} logs: {', '.join(str(log.path) for log in logs)}"
        )
    return list(zip(labels, logs, strict=True))


def make_table(
    logs: Sequence[tuple[str, Log]],
    style: str = "text",
    radii: Sequence[float] | None = None,
    intervals: bool = False,
    *,
    method: str = "clopper-pearson",
    bound: float | None = None,
    alpha: float | None = None,
    norm: str | None = None,
    norms: Sequence[str] = (),
    shape: Sequence[int] | None = None,
) -> str:
    """Return a table of labelled logs, without a line break at its end.

    All styles but JSON show certified accuracy and abstentions in percent ("-" if unknown) and the average certified
    radius (ACR). Median radius, samples per image and norm are shown unless the column would say nothing. JSON gives
    shares from 0 to 1 and all numbers. ">=" marks lower bounds: a sequential certification did not sample for them.

    Args:
        logs: (label, log) in the order of the rows, at least one.
        style: one of :data:`FORMATS`.
        radii: radii of the columns. None takes 0, 0.25, ..., 3 (round steps in linf and l0); all styles but JSON leave
            out radii at which no log certifies an image.
        intervals: add 95 % confidence intervals of certified accuracy.
        method: method of these intervals, ``"clopper-pearson"`` or ``"wilson"``.
        bound: add a lower bound of the robust accuracy over the population, which is too high with this probability.
        alpha: alpha of the certificates, which the bound needs. It is only used for logs whose header does not say it.
        norm: convert radii to this norm.
        norms: add the mean certified radius in each of these norms.
        shape: ``[C, H, W]`` of the images, to convert logs without a header.

    Raises:
        UserError: the style is unknown, a radius is negative or not finite, a bound has no alpha, or a log cannot be
            converted.
    """
    if style not in FORMATS:
        raise UserError(f"table format '{style}' is unknown: use one of {', '.join(FORMATS)}")
    shown = [in_norm(log, norm, shape) if norm else log for _, log in logs]
    columns = default_radii(shown) if radii is None else radii
    lines = [
        _Line(
            label,
            log,
            summarize(log, columns),
            method=method if intervals else None,
            bound=None if bound is None else (_alpha(log, alpha), bound),
            means=_means(original, norms, shape),
        )
        for (label, original), log in zip(logs, shown, strict=True)
    ]
    if style == "json":
        return json.dumps([line.record() for line in lines], indent=2)
    # Radius 0 is the column "clean".
    columns = reached(columns, shown) if radii is None else [radius for radius in radii if radius > 0]
    return render(_as_grid(lines, columns), style)


@dataclass(frozen=True)
class _Line:
    """One row of a table.

    Attributes:
        label: name of the log.
        log: the log.
        summary: its numbers.
        method: method of the intervals to add to each share; None adds no intervals.
        bound: (alpha, rho) of the population bound to add to each share; None adds no bounds.
        means: norm -> mean certified radius.
    """

    label: str
    log: Log
    summary: Summary
    method: str | None
    bound: tuple[float, float] | None
    means: dict[str, float]

    def record(self) -> dict[str, Any]:
        """Return the row as a dict for JSON."""
        summary = self.summary

        def shares(share: Callable[[int], Any]) -> dict[str, Any]:
            return {
                radius_name(radius): share(count) if radius == 0 or self.log.claims_radii else None
                for radius, count in zip(summary.radii, summary.counts, strict=True)
            }

        record: dict[str, Any] = {
            "file": str(self.log.path),
            "rows": summary.rows,
            "abstain": summary.abstain,
            "certified_accuracy": shares(lambda count: count / summary.rows),
            "acr": summary.acr,
            "median": summary.median,
            "samples": summary.samples,
            "label": self.label,
            "norm": self.log.norm,
            "native_norm": native_norm(self.log),
            "radius_column": self.log.radius_column,
            "sampled_for": summary.sampled_for,
        }
        if method := self.method:
            record["interval"] = shares(lambda count: summary.interval(count, method))
            record["interval_method"] = method
        if self.bound:
            alpha, rho = self.bound
            record["population_bound"] = shares(lambda count: summary.bound(count, alpha, rho))
            record |= {"alpha": alpha, "rho": rho}
        if self.means:
            record["acr_by_norm"] = self.means
        return record

    def accuracy(self, radius: float, count: int) -> str:
        """Return the share at a radius in percent, with its interval and its bound if these were asked for."""
        if radius > 0 and not self.log.claims_radii:
            return "-"
        text = self._least(self.summary.exact(radius), f"{100 * count / self.summary.rows:.1f}")
        if self.method:
            low, high = self.summary.interval(count, self.method)
            text += f" [{100 * low:.1f}, {100 * high:.1f}]"
        if self.bound:
            # Rounded down, since a lower bound must not be printed too high.
            text += f" (>={math.floor(1000 * self.summary.bound(count, *self.bound)) / 10:.1f})"
        return text

    def mean(self, radius: float | None, norm: str) -> str:
        """Return the text of a mean or median certified radius."""
        if radius is None:
            return "-"
        return self._least(self.summary.sampled_for is None, f"{radius:.{decimals(norm)}f}")

    @staticmethod
    def _least(exact: bool, text: str) -> str:
        """Return the text, marked ``>=`` if it is only a lower bound."""
        return text if exact else f">={text}"


def _as_grid(lines: Sequence[_Line], radii: Sequence[float]) -> Grid:
    """Return the table for all styles but JSON, without optional columns that would say nothing."""
    two_sided = any(line.log.radius_column == TWO_SIDED for line in lines)
    columns: dict[str, list[str]] = {
        "log (two-sided)" if two_sided else "log": [line.label for line in lines],
        "norm": [norm_name(line.log) for line in lines],
        "images": [str(line.summary.rows) for line in lines],
        "clean": [line.accuracy(0.0, line.summary.clean) for line in lines],
    }
    if all(norm_name(line.log) == "l2" for line in lines):
        del columns["norm"]
    for radius in radii:
        columns[f"r={radius_name(radius)}"] = [
            line.accuracy(radius, line.summary.counts[line.summary.radii.index(radius)]) for line in lines
        ]
    columns["abstain"] = [_or_dash(line.summary.abstain, lambda share: f"{100 * share:.1f}") for line in lines]
    columns["ACR"] = [line.mean(line.summary.acr, line.log.norm) for line in lines]
    if any(line.summary.median for line in lines):
        columns["median"] = [line.mean(line.summary.median, line.log.norm) for line in lines]
    for norm in dict.fromkeys(norm for line in lines for norm in line.means):
        columns[f"ACR {norm}"] = [line.mean(line.means.get(norm), norm) for line in lines]
    if any(line.summary.samples is not None for line in lines):
        columns["samples"] = [_or_dash(line.summary.samples, lambda mean: f"{mean:,.0f}") for line in lines]
    return Grid(list(columns), list(zip(*columns.values(), strict=True)))


def _means(log: Log, norms: Sequence[str], shape: Sequence[int] | None) -> dict[str, float]:
    """Return the mean certified radius of a log in each norm; empty for a log of PREDICT, which has no radii."""
    if not log.claims_radii:
        return {}
    return {norm: float(certified_radius(in_norm(log, norm, shape)).mean()) for norm in norms}


def _alpha(log: Log, given: float | None) -> float:
    """Return the alpha of a log's certificates: that of the header, else ``given``."""
    alpha = log.identity.get("alpha")
    alpha = given if alpha is None else alpha
    if alpha is None:
        raise UserError(
            f"{log.path} does not say at which alpha it was certified: give --alpha (0.001 is usual in the literature)"
        )
    return float(alpha)


def _or_dash(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)
