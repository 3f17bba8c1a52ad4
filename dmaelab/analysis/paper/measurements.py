"""From logs to measurements: which logs belong to a table of the paper, and what the table needs from each log.

A :class:`Measurement` is computed once from a log. Nothing reads the rows of the log after that.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from dmaelab.analysis.log_labels import labels_of
from dmaelab.analysis.paper.specs import Spec
from dmaelab.analysis.summary import certified_counts, sampled_for
from dmaelab.analysis.views import TWO_SIDED, geometry_of
from dmaelab.records.identity import IMAGES, NOISE, STATISTICS
from dmaelab.records.labels import CERTIFICATION_SETTINGS, DATASET, EVAL_SIGMA, PRETRAIN, SEED, SIGMA
from dmaelab.records.readers import Log
from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.utils.differences import Difference, differences, listed
from dmaelab.utils.errors import UserError

# Public logs print radii with three significant digits, so a radius may be half a unit of the third digit too high.
_ROUNDING = 1.005

# Keys of the identity that belong to the setting of a measurement. Sigma does not, because logs of a row may differ in
# it. The data set does not, because it is compared by its label.
_SETTING_KEYS = tuple(key for key in (*STATISTICS, *NOISE, *IMAGES) if key not in ("sigma", "dataset"))
# Options of a certifier that change no number of a table. Measurement.sampled says at which radii a log sampled.
_WITHOUT_EFFECT = ("skip_wrong", "mode", "radii")


@dataclass(frozen=True)
class Measurement:
    """What a table needs from one log.

    Attributes:
        log: the log, which contains certified radii.
        labels: its labels and settings, see :func:`dmaelab.analysis.log_labels.labels_of`.
        sigmas: sigma of the training and sigma of the evaluation. If the first is unknown, it is set to the second.
        setting: how the log was certified: n, n0, alpha, norm and images, and certifier and noise if there is a header.
        cap: the largest radius that n samples can certify, in [0,1] pixel units.
        too_large: the largest radius of the log if it exceeds ``cap`` by more than rounding, else None.
        counts: number of images that are certified with the right class, at each radius of the table.
        sampled: whether the log sampled for each radius of the table. If it did not, the count is a lower bound.
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
    """Return a measurement of each log that belongs to the table, and the logs that do not belong to it.

    Args:
        spec: the table.
        logs: logs with labels in their headers.
        radii: radii of the table's columns, in [0,1] pixel units.

    Raises:
        UserError: labels are missing or wrong, a log has no radii, no log belongs to the table, or the logs use several
            data sets.
    """
    measured, other_logs = [], []
    for log in logs:
        labels = labels_of(log)
        if log.claims_radii and not _belongs(spec, labels):
            other_logs.append(log)
        else:
            measured.append(_measure(log, labels, spec.needs, radii))
    if not measured:
        rule = ", ".join(f"{name}={' or '.join(values)}" for name, values in spec.only.items())
        raise UserError(
            f"none of these logs belongs to table {spec.number}. It takes logs labelled {rule}: set these labels with"
            " --label, or in the configs of the trainings"
        )
    for a, b in combinations(measured, 2):
        _check_dataset(a, b)
    return measured, other_logs


def _belongs(spec: Spec, labels: Mapping[str, Any]) -> bool:
    """Return whether a log belongs to the table.

    A missing label excludes nothing, but a missing ``pretrain`` means that there was no pre-training.
    """
    known = [name for name in spec.only if name in labels or name == PRETRAIN]
    return all(labels.get(name) in spec.only[name] for name in known)


def _measure(log: Log, labels: dict[str, Any], needs: Sequence[str], radii: Sequence[float]) -> Measurement:
    """Return the measurement of a log.

    Raises:
        UserError: the log has no radii, or lacks a label or setting that the table needs.
    """
    if not log.claims_radii:
        raise UserError(f"{log.path} contains classes but no radii: the tables of the paper need certified radii")
    if missing := [name for name in (*needs, *CERTIFICATION_SETTINGS) if name not in labels]:
        example = " ".join(f"{name}=..." for name in missing)
        raise UserError(f"{log.path} does not say its {', '.join(missing)}: add --label {log.path} {example}")
    cap, largest = _cap(log, labels), float(log.radius.max())
    counts, known = certified_counts(log, radii), sampled_for(log)
    return Measurement(
        log=log,
        labels=labels,
        sigmas=(labels.get(SIGMA, labels[EVAL_SIGMA]), labels[EVAL_SIGMA]),
        setting=_setting(log),
        cap=cap,
        too_large=largest if largest > cap * _ROUNDING else None,
        counts=tuple(counts.tolist()),
        sampled=tuple(known is None or radius in known for radius in radii),
    )


def _cap(log: Log, labels: Mapping[str, Any]) -> float:
    """Return the radius of an image for which all n samples vote: the lower bound of its probability is alpha^(1/n).

    For Gaussian noise the radius is sigma Phi^-1(alpha^(1/n)) (Cohen et al., 2019).
    """
    n, alpha, tau = labels["n"], labels["alpha"], log.identity.get("tau", 0.0)
    return geometry_of(log).radius_as_sampled(labels[EVAL_SIGMA], tau, clopper_pearson_lower(n, n, alpha))


def _setting(log: Log) -> dict[str, Any]:
    """Return what two measurements must share to be compared, as far as the log says it."""
    order = np.argsort(log.index)
    images = np.stack([log.index, log.label])[:, order].tobytes()
    two_sided = log.radius_column == TWO_SIDED
    setting = {key: log.identity[key] for key in _SETTING_KEYS if key in log.identity}
    if isinstance(setting.get("certifier"), Mapping):
        # The weight divides alpha between the two bounds of a two-sided radius. One-sided radii do not use it.
        ignored = _WITHOUT_EFFECT if two_sided else (*_WITHOUT_EFFECT, "weight")
        setting["certifier"] = {key: value for key, value in setting["certifier"].items() if key not in ignored}
    return {
        **setting,
        "norm": f"two-sided {log.norm}" if two_sided else log.norm,
        "images": f"{len(log)} (hash {hashlib.blake2b(images, digest_size=4).hexdigest()})",
    }


def _check_dataset(a: Measurement, b: Measurement) -> None:
    """Raise ``UserError`` if two logs use different data sets.

    The labels decide. If one of the logs has no such label, the headers decide.
    """

    def names(measurement: Measurement) -> tuple[Any, Any]:
        in_header = measurement.log.identity.get("dataset") or {}
        return measurement.labels.get(DATASET), in_header.get("name")

    known = (pair for pair in zip(names(a), names(b), strict=True) if None not in pair)
    name_a, name_b = next(known, (None, None))
    if name_a != name_b:
        raise UserError(
            f"{a.log.path} ({name_a}) and {b.log.path} ({name_b}) use different data sets; a table can show only one"
        )


def check_alike(a: Measurement, b: Measurement, why: str) -> None:
    """Raise ``UserError`` if two measurements have different settings.

    Args:
        a: a measurement.
        b: another one.
        why: beginning of the message, which says why they are compared.
    """
    shared = a.setting.keys() & b.setting.keys()
    if different := differences(*({key: one.setting[key] for key in shared} for one in (a, b))):
        raise UserError(f"{why}, but {_between(different, a, b)}")


def check_same_row(number: int, a: Measurement, b: Measurement) -> None:
    """Check that two measurements can share a row of table ``number``.

    Raises:
        UserError: their settings differ, they are the same log, or they have the same sigmas and are not two seeds of
            one network.
    """
    paths = f"{a.log.path} and {b.log.path}"
    check_alike(a, b, f"{paths} share a row of table {number}")
    weights_a, weights_b = (one.log.identity.get("weights") for one in (a, b))
    # Two models may give the same rows. Only their weights tell such logs apart.
    if None in (weights_a, weights_b) and _equal(a.log, b.log):
        raise UserError(
            f"{paths} share a row of table {number}, but they are the same log: all their rows are equal; leave one out"
        )
    if a.sigmas != b.sigmas:
        return
    seed_a, seed_b = a.labels.get(SEED), b.labels.get(SEED)
    if None in (seed_a, seed_b) or seed_a == seed_b:
        labels = "the same labels" if seed_a == seed_b else "the same labels, and only one has a seed"
        raise UserError(
            f"{paths} are two logs for one cell of table {number}: they have {labels}, and are evaluated at sigma"
            f" {a.labels[EVAL_SIGMA]:g}; correct a wrong label, or leave one log out, or give each log its seed, such"
            f" as --label {b.log.path} {SEED}=1"
        )
    if different := _network_differences(a.log, b.log):
        raise UserError(f"{paths} are labelled as two seeds of one model, but {_between(different, a, b)}")
    if weights_a is not None and weights_a == weights_b:
        raise UserError(f"{paths} are labelled as two seeds, but they have the same weights: leave one out")


def _network_differences(a: Log, b: Log) -> list[Difference]:
    """Return how the networks of two training runs differ; nothing if a log does not belong to a training run.

    The key ``attention`` does not count, because it says how the device computes the same network.
    """
    if not (_belongs_to_run(a) and _belongs_to_run(b)):
        return []
    found = differences(*({"model": log.identity["model"]} for log in (a, b)))
    return [difference for difference in found if difference.key.split(".")[-1] != "attention"]


def _belongs_to_run(log: Log) -> bool:
    """Return whether a log belongs to a training run of this package.

    In any other log the model may contain the path of the weights, which differs between two seeds of one network.
    """
    return log.context.get("run") is not None and "model" in log.identity


def _equal(a: Log, b: Log) -> bool:
    """Return whether two logs of the same images contain the same classes and radii."""
    first, second = (log.take(np.argsort(log.index)) for log in (a, b))
    return np.array_equal(first.prediction, second.prediction) and np.array_equal(first.radius, second.radius)


def _between(different: Sequence[Difference], a: Measurement, b: Measurement) -> str:
    """Return the differences of two measurements in words that name their logs."""
    return listed(different, f"in {a.log.path}", f"in {b.log.path}")
