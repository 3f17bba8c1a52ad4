"""Which logs are of one of the paper's tables, and which of them share a row."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from dmaelab.analysis.labels import labels_of
from dmaelab.analysis.paper.cells import Measurement, check_alike, measure
from dmaelab.analysis.paper.specs import SPECS
from dmaelab.records.readers import Log
from dmaelab.utils.differences import differences
from dmaelab.utils.errors import UserError

Key = tuple[tuple[str, Any], ...]
"""The labels that the logs of one row share, sorted by name: ``dict(key)`` are the facts of the row."""


def select(number: int, logs: Sequence[Log]) -> tuple[list[Measurement], list[Log]]:
    """Return the logs that are of a table, and those whose labels say that they are not.

    Raises:
        UserError: labels are missing, there is no log of the table, or logs are of several data sets.
    """
    spec = SPECS[number]
    taken, left = [], []
    for log in logs:
        labels = labels_of(log)
        # Without the label pretrain nothing was pre-trained; other labels that are missing are missed.
        known = {key for key in spec.takes if key in labels or key == "pretrain"}
        if log.claims_radii and any(spec.takes[key] and labels.get(key) not in spec.takes[key] for key in known):
            left.append(log)
        else:
            taken.append(measure(log, spec.needs))
    if not taken:
        rule = ", ".join(f"{key}={' or '.join(values)}" for key, values in spec.takes.items() if values)
        raise UserError(
            f"no log given is of table {number}, which takes those labelled {rule}: label them, with --label or in"
            " their configs"
        )
    for one, other in combinations(taken, 2):
        _check_dataset(one, other)
    return taken, left


def share_rows(number: int, taken: Sequence[Measurement]) -> dict[Key, list[Measurement]]:
    """Return the measurements of each row: all labels equal but the seed, and the sigmas where a row takes the best of
    them.

    A model that was trained on a range of sigma is one model, and never the best of several: it has a row of its own.

    Raises:
        UserError: logs that share a row were not made alike, or are not seeds of one cell.
    """
    envelope = SPECS[number].envelope
    sharing: dict[Key, list[Measurement]] = {}
    for one in taken:
        labels = {**one.labels, "sigma": one.sigmas[0]}
        aside = {"seed", "label", "n", "n0", "alpha"}
        if envelope:
            aside |= {"eval_sigma"} if isinstance(labels["sigma"], tuple) else {"eval_sigma", "sigma"}
        row = sharing.setdefault(
            tuple(sorted((name, value) for name, value in labels.items() if name not in aside)), []
        )
        for other in row:
            _check_row(number, other, one)
        row.append(one)
    return sharing


def _check_dataset(a: Measurement, b: Measurement) -> None:
    """Refuse two data sets: those of the labels, else those that both headers name."""

    def names(one: Measurement) -> tuple[Any, Any]:
        return one.labels.get("dataset"), (one.log.identity.get("dataset") or {}).get("name")

    known = [(x, y) for x, y in zip(names(a), names(b), strict=True) if x is not None and y is not None]
    if known and known[0][0] != known[0][1]:
        raise UserError(
            f"{a.log.path} ({known[0][0]}) and {b.log.path} ({known[0][1]}) are of different data sets: a table is of"
            " one"
        )


def _check_row(number: int, a: Measurement, b: Measurement) -> None:
    """Refuse measurements of one row that were not made alike, are one log twice, or are not two seeds of one cell."""
    paths = f"{a.log.path} and {b.log.path}"
    check_alike(a, b, f"{paths} share a row of table {number}")
    weights = [one.log.identity.get("weights") for one in (a, b)]
    if None in weights and _equal(a.log, b.log):  # with them it is known whether two models answer alike
        raise UserError(f"{paths} share a row of table {number}, but are one log: equal image by image; leave one out")
    if a.sigmas != b.sigmas:
        return
    seeds = [one.labels.get("seed") for one in (a, b)]
    if seeds[0] == seeds[1] or None in seeds:
        labels = "same labels" if seeds[0] == seeds[1] else "same labels, a seed in one of them alone"
        raise UserError(
            f"{paths} are two logs for one cell of table {number} ({labels}, evaluated at sigma"
            f" {a.labels['eval_sigma']:g}): check their "
            "eval_sigma and sigma; where they are right, leave one out, or give each its seed, such as --label"
            f" {b.log.path} seed=1"
        )
    if _is_of_run(a.log) and _is_of_run(b.log):  # another config of the model is another network
        apart = differences(*({"model": one.log.identity["model"]} for one in (a, b)))
        # How attention is computed is chosen by the device, and is no other network.
        if apart := [one for one in apart if one.key.split(".")[-1] != "attention"]:
            shown = "; ".join(one.between(f"in {a.log.path}", f"in {b.log.path}") for one in apart)
            raise UserError(f"{paths} are labelled as two seeds of one model, but {shown}")
    if weights[0] is not None and weights[0] == weights[1]:
        raise UserError(f"{paths} are labelled as two seeds, but are of one model (same weights): leave one out")


def _is_of_run(log: Log) -> bool:
    """Whether a log is of a trained run, and not of a module of one's own, whose config may name its weights."""
    return log.header is not None and log.header["context"].get("run") is not None and "model" in log.identity


def _equal(a: Log, b: Log) -> bool:
    """Whether two logs of the same images hold the same classes and radii."""
    first, second = (log.take(np.argsort(log.index)) for log in (a, b))
    return np.array_equal(first.prediction, second.prediction) and np.array_equal(first.radius, second.radius)
