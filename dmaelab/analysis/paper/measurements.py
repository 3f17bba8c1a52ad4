"""A log as a table of the paper sees it: which logs are of the table, and all that the table needs of each.

A :class:`Measurement` is computed once, from one log, and nothing reads the log's rows after that.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from dmaelab.analysis.paper.specs import Spec
from dmaelab.analysis.summary import certified_counts, sampled_for
from dmaelab.analysis.views import TWO_SIDED, geometry_of
from dmaelab.records.labels import SETTINGS, labels_of
from dmaelab.records.readers import Log
from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.utils.differences import differences
from dmaelab.utils.errors import UserError

# Public logs print radii with three significant digits, so a radius may be half a unit of the third digit too high.
_ROUNDING = 1.005

# What the header says of how a log was made, besides n, n0, alpha, the norm and the images.
_OF_THE_HEADER = ("certifier", "corruption", "geometry", "shape", "first_image")
# Options of a certifier that change no figure of a table. Radii without samples are known from Measurement.sampled.
_WITHOUT_EFFECT = ("skip_wrong", "mode", "radii")


@dataclass(frozen=True)
class Measurement:
    """What a table needs of one log.

    Attributes:
        log: the log, with certified radii.
        labels: its labels and settings, see :func:`dmaelab.records.labels.labels_of`.
        sigmas: sigma of the training and of the evaluation. Where the first is not known, the second stands for it.
        setting: how it was measured: n, n0, alpha, norm and images, and what the header says of certifier and noise.
        cap: the largest radius that n samples can certify, [0,1] pixel units.
        too_large: the largest radius of the log, where it is beyond ``cap`` by more than rounding; else None.
        counts: how many images are certified with the right class, at each radius of the table.
        sampled: whether the log sampled for that radius. If it did not, the count is a lower bound.
    """

    log: Log
    labels: dict[str, Any]
    sigmas: tuple[Any, float]
    setting: dict[str, Any]
    cap: float
    too_large: float | None
    counts: tuple[int, ...]
    sampled: tuple[bool, ...]


def measure_logs(spec: Spec, logs: Sequence[Log], radii: Sequence[float]) -> tuple[list[Measurement], list[Log]]:
    """Return a measurement of each log that is of a table, and the logs that are not, by their labels.

    Args:
        spec: of the table.
        logs: with labels in their headers.
        radii: of the table's columns, [0,1] pixel units.

    Raises:
        UserError: labels are missing or wrong, a log has no radii, no log is of the table, or logs are of several data
            sets.
    """
    measured, left = [], []
    for log in logs:
        labels = labels_of(log)
        if log.claims_radii and not _is_of_table(spec, labels):
            left.append(log)
        else:
            measured.append(_measure(log, labels, spec.needs, radii))
    if not measured:
        rule = ", ".join(f"{name}={' or '.join(values)}" for name, values in spec.only.items())
        raise UserError(
            f"no log given is of table {spec.number}, which takes those labelled {rule}: label them, with --label or in"
            " their configs"
        )
    for one, other in combinations(measured, 2):
        _check_dataset(one, other)
    return measured, left


def _is_of_table(spec: Spec, labels: Mapping[str, Any]) -> bool:
    """Whether no label excludes a log. A missing one does not, except ``pretrain``, which says: nothing pre-trained."""
    known = [name for name in spec.only if name in labels or name == "pretrain"]
    return all(labels.get(name) in spec.only[name] for name in known)


def _measure(log: Log, labels: dict[str, Any], needs: Sequence[str], radii: Sequence[float]) -> Measurement:
    """Return the measurement of a log; ``UserError`` without radii, or without a label or setting that is needed."""
    if not log.claims_radii:
        raise UserError(
            f"{log.path} has no radii, it answers with classes alone: the paper's tables need certified radii"
        )
    if missing := [name for name in (*needs, *SETTINGS) if name not in labels]:
        example = " ".join(f"{name}=..." for name in missing)
        raise UserError(f"{log.path} does not say its {', '.join(missing)}: add --label {log.path} {example}")
    cap, largest = _cap(log, labels), float(log.radius.max())
    counts, asked = certified_counts(log, radii), sampled_for(log)
    return Measurement(
        log=log,
        labels=labels,
        sigmas=(labels.get("sigma", labels["eval_sigma"]), labels["eval_sigma"]),
        setting=_setting(log, labels),
        cap=cap,
        too_large=largest if largest > cap * _ROUNDING else None,
        counts=tuple(counts.tolist()),
        sampled=tuple(asked is None or radius in asked for radius in radii),
    )


def _cap(log: Log, labels: Mapping[str, Any]) -> float:
    """Return the radius of an image that all n samples vote for: its lower bound is alpha^(1/n).

    For Gaussian noise the radius is sigma Phi^-1(alpha^(1/n)) (Cohen et al., 2019).
    """
    n, alpha, tau = labels["n"], labels["alpha"], log.identity.get("tau", 0.0)
    return geometry_of(log).radius_as_sampled(labels["eval_sigma"], tau, clopper_pearson_lower(n, n, alpha))


def _setting(log: Log, labels: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two measurements must share to be compared, as far as it is known of both."""
    order = np.argsort(log.index)
    images = np.stack([log.index, log.label])[:, order].tobytes()
    two_sided = log.radius_column == TWO_SIDED
    known = {key: log.identity[key] for key in _OF_THE_HEADER if key in log.identity}
    if isinstance(known.get("certifier"), Mapping):
        # The weight divides alpha between the two bounds of a two-sided radius. One-sided radii do not use it.
        aside = _WITHOUT_EFFECT if two_sided else (*_WITHOUT_EFFECT, "weight")
        known["certifier"] = {key: value for key, value in known["certifier"].items() if key not in aside}
    return {
        **{name: labels[name] for name in ("n", "n0", "alpha")},
        "norm": f"two-sided {log.norm}" if two_sided else log.norm,
        "images": f"{len(log)} (hash {hashlib.blake2b(images, digest_size=4).hexdigest()})",
        **known,
    }


def _check_dataset(a: Measurement, b: Measurement) -> None:
    """Refuse two data sets: those of the labels, or those of the headers where a label is missing."""

    def names(one: Measurement) -> tuple[Any, Any]:
        return one.labels.get("dataset"), (one.log.identity.get("dataset") or {}).get("name")

    known = [(x, y) for x, y in zip(names(a), names(b), strict=True) if x is not None and y is not None]
    if known and known[0][0] != known[0][1]:
        raise UserError(
            f"{a.log.path} ({known[0][0]}) and {b.log.path} ({known[0][1]}) are of different data sets: a table is of"
            " one"
        )


def check_alike(a: Measurement, b: Measurement, why: str) -> None:
    """Refuse two measurements of different settings: ``UserError`` says ``why`` they are compared, and what differs."""
    common = a.setting.keys() & b.setting.keys()
    first, second = ({key: one.setting[key] for key in common} for one in (a, b))
    if different := differences(first, second):
        shown = "; ".join(one.between(f"in {a.log.path}", f"in {b.log.path}") for one in different)
        raise UserError(f"{why}, but {shown}")


def check_same_row(number: int, a: Measurement, b: Measurement) -> None:
    """Refuse two measurements that cannot share a row of table ``number``.

    Raises:
        UserError: their settings differ, they are one log twice, or they have the same sigmas and are not two seeds of
            one network.
    """
    paths = f"{a.log.path} and {b.log.path}"
    check_alike(a, b, f"{paths} share a row of table {number}")
    weights = [one.log.identity.get("weights") for one in (a, b)]
    if None in weights and _equal(a.log, b.log):  # two models may answer alike, and only weights tell them apart
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
        # The device chooses how attention is computed. That makes no other network.
        if apart := [one for one in apart if one.key.split(".")[-1] != "attention"]:
            shown = "; ".join(one.between(f"in {a.log.path}", f"in {b.log.path}") for one in apart)
            raise UserError(f"{paths} are labelled as two seeds of one model, but {shown}")
    if weights[0] is not None and weights[0] == weights[1]:
        raise UserError(f"{paths} are labelled as two seeds, but are of one model (same weights): leave one out")


def _is_of_run(log: Log) -> bool:
    """Whether a log is of a training run of ours. The config of any other module may name its weights."""
    return log.header is not None and log.header["context"].get("run") is not None and "model" in log.identity


def _equal(a: Log, b: Log) -> bool:
    """Whether two logs of the same images hold the same classes and radii."""
    first, second = (log.take(np.argsort(log.index)) for log in (a, b))
    return np.array_equal(first.prediction, second.prediction) and np.array_equal(first.radius, second.radius)
