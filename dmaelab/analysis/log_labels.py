"""The labels of logs: read from their headers, and replaced or completed by ``--label LOG key=value ...``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmaelab.config.overrides import parse
from dmaelab.records.labels import CERTIFICATION_SETTINGS, CONTINUED, EVAL_SIGMA, LABELS, NAME
from dmaelab.records.readers import Log
from dmaelab.utils.errors import UserError, did_you_mean

_KINDS = {**{name: label.kind for name, label in LABELS.items()}, **CERTIFICATION_SETTINGS}
_IDENTITY_KEYS = {**{name: name for name in CERTIFICATION_SETTINGS}, EVAL_SIGMA: "sigma"}
"""Certification setting -> the key in the identity of a header that contains it."""


def labels_of(log: Log) -> dict[str, Any]:
    """Return the labels of a log and its certification settings, without keys that have no value.

    Lists become tuples, so that every value can be a key of a dict. ``continued: false`` is left out, because it means
    the same as a missing label.

    Raises:
        UserError: a value does not fit its label.
    """
    settings = {name: log.identity.get(key) for name, key in _IDENTITY_KEYS.items()}
    values = {**log.labels, **settings}
    labels = {name: _hashable(value) for name, value in values.items() if value is not None}
    for name, value in labels.items():
        if name in _KINDS and not _KINDS[name].fits(value):
            right = _KINDS[name].words
            raise UserError(f"{log.path}: the label {name} is {json.dumps(value)}, it should be {right}")
    if labels.get(CONTINUED) is False:
        del labels[CONTINUED]
    return labels


def relabel(log: Log, labels: Mapping[str, Any]) -> Log:
    """Return the log with labels added or replaced. The value None removes a label.

    A certification setting can be given only if the header does not contain another value for it.

    Raises:
        UserError: a label is unknown or does not fit, or a setting contradicts the header.
    """
    known = {*LABELS, *CERTIFICATION_SETTINGS, NAME}
    settings: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in labels.items():
        if name not in known:
            choices = ", ".join([*LABELS, *CERTIFICATION_SETTINGS])
            raise UserError(f"{log.path}: there is no label '{name}'{did_you_mean(name, known)}: use {choices}")
        if (key := _IDENTITY_KEYS.get(name)) is None:
            others[name] = value
            continue
        settings[key] = value
        if (recorded := log.identity.get(key)) not in (None, value):
            raise UserError(f"{log.path}: its header says {name} = {recorded}, a label cannot change it to {value}")
    header = {
        **(log.header or {}),
        "identity": {**log.identity, **settings},
        "context": {**log.context, "labels": {**log.labels, **others}},
    }
    labelled = replace(log, header=header)
    labels_of(labelled)  # checks the values
    return labelled


def label_logs(logs: Sequence[Log], given: Sequence[Sequence[str]]) -> list[Log]:
    """Return the logs with the labels that the command line gives them.

    Args:
        logs: the logs to label.
        given: for each ``--label`` the words after it: a log or a folder of logs, then ``key=value`` words. The labels
            of a folder are for all logs below it.

    Raises:
        UserError: the log is not among ``logs``, a word has no ``=`` or is given twice, or :func:`relabel` raises it.
    """
    logs = list(logs)
    for name, *words in given:
        path = Path(name).resolve()
        places = [place for place, log in enumerate(logs) if path in (log.path.resolve(), *log.path.resolve().parents)]
        if not places:
            raise UserError(
                f"--label {name}: this log is not among those given"
                f"{did_you_mean(name, [str(log.path) for log in logs])}"
            )
        labels = _parse_labels(name, words)
        for place in places:
            logs[place] = relabel(logs[place], labels)
    return logs


def _hashable(value: Any) -> Any:
    """Return a value with lists as tuples and dicts as JSON text."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _parse_labels(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Return the labels of words such as ``method=RS`` or ``sigma=[0, 0.75]``."""
    labels: dict[str, Any] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not (key and equals and value):
            raise UserError(
                f"--label {name}: '{word}' is not of the form key=value, such as method=RS; write the logs of the table"
                " before --label"
            )
        if key in labels:
            raise UserError(f"--label {name}: '{key}' is given twice")
        labels[key] = parse(value)
    if not labels:
        raise UserError(f"--label {name}: no label follows; give one such as method=RS")
    return labels
