"""Tables of many logs, one row each: text, Markdown or JSON."""

import json
import os
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from dmaelab.analysis.summary import RADII, Summary, summarize
from dmaelab.records.readers import Log, find_logs, read_log
from dmaelab.utils.errors import UserError

_STYLES = {"text": "simple", "markdown": "pipe"}
FORMATS = (*_STYLES, "json")


def default_label(log: Log) -> str:
    """Return what a table calls a log: the label in its header, else its run and name, else its file name."""
    if log.header is None:
        return log.path.stem
    parts = log.path.resolve().parts
    name = "/".join((parts[-3], parts[-1])) if parts[-2:-1] == ("certify",) else parts[-1]
    return str(log.header["context"].get("label", name))


def labelled_logs(paths: Sequence[str | os.PathLike], labels: Sequence[str] | None = None) -> list[tuple[str, Log]]:
    """Return (label, log) for every log that is found at ``paths``, in their order; without ``labels`` the default ones.

    Raises:
        UserError: there is no log at a path, or another number of labels than of logs.
    """
    logs = [read_log(found) for path in paths for found in find_logs(path)]
    labels = labels or [default_label(log) for log in logs]
    if len(labels) != len(logs):
        raise UserError(f"--labels has {len(labels)} names for {len(logs)} logs: {', '.join(str(log.path) for log in logs)}")
    return list(zip(labels, logs, strict=True))


def make_table(logs: Sequence[tuple[str, Log]], style: str = "text", radii: Sequence[float] | None = None, intervals: bool = False) -> str:
    """Return a table of labelled logs, without a line break at its end.

    Text and Markdown give certified accuracy in percent, the share of abstentions in percent ("-"
    where unknown) and the average certified radius; JSON gives shares.

    Args:
        logs: (label, log) in the order of the rows, at least one.
        style: one of :data:`FORMATS`.
        radii: of the columns; ``None`` takes 0, 0.25, ..., 3, in text and Markdown as far as any log reaches.
        intervals: add exact 95 % confidence intervals of certified accuracy.

    Raises:
        UserError: unknown style, or a radius that is negative or not finite.
    """
    if style not in FORMATS:
        raise UserError(f"table format '{style}' is unknown: use one of {', '.join(FORMATS)}")
    summaries = [summarize(log, RADII if radii is None else radii) for _, log in logs]
    if style == "json":
        return json.dumps([_record(log, summary, intervals) for (_, log), summary in zip(logs, summaries, strict=True)], indent=2)
    shown = [
        (c, radius)
        for c, radius in enumerate(RADII if radii is None else radii)
        if radius > 0 and (radii is not None or any(summary.counts[c] for summary in summaries))  # "clean" is radius 0
    ]
    rows = []
    for (label, _), summary in zip(logs, summaries, strict=True):
        accuracies = [_percent(summary, count, intervals) for count in (summary.clean, *(summary.counts[c] for c, _ in shown))]
        abstain = "-" if summary.abstain is None else f"{100 * summary.abstain:.1f}"
        rows.append([label, summary.rows, *accuracies, abstain, f"{summary.acr:.3f}"])
    headers = ["log", "images", "clean", *(f"r={_key(radius)}" for _, radius in shown), "abstain", "ACR"]
    align = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers, tablefmt=_STYLES[style], disable_numparse=True, colalign=align)


def _record(log: Log, summary: Summary, intervals: bool) -> dict[str, Any]:
    keys = [_key(radius) for radius in summary.radii]
    record = {
        "file": str(log.path),
        "rows": summary.rows,
        "abstain": summary.abstain,
        "certified_accuracy": {key: count / summary.rows for key, count in zip(keys, summary.counts, strict=True)},
        "acr": summary.acr,
    }
    if intervals:
        record["interval"] = {key: summary.interval(count) for key, count in zip(keys, summary.counts, strict=True)}
    return record


def _key(radius: float) -> str:
    """Return the radius with two decimals, with more where it has more."""
    return f"{radius:.2f}" if round(radius, 2) == radius else repr(radius)


def _percent(summary: Summary, count: int, intervals: bool) -> str:
    text = f"{100 * count / summary.rows:.1f}"
    if not intervals:
        return text
    low, high = summary.interval(count)
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"
