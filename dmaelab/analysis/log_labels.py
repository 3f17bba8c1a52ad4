"""The labels that ``--label LOG key=value ...`` gives to logs; they replace or complete those of the headers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmaelab.records.labels import LABELS, NAME, SETTINGS, identity_key, labels_of
from dmaelab.records.readers import Log
from dmaelab.records.row import parse_value
from dmaelab.utils.errors import UserError, did_you_mean

_WORDS = {"true": True, "false": False, "null": None, "none": None}
_PAIR = re.compile(r"\[([^\[\],]+),([^\[\],]+)\]")


def relabel(log: Log, labels: Mapping[str, Any]) -> Log:
    """Return the log with labels added or replaced. The value None removes a label.

    One of :data:`~dmaelab.records.labels.SETTINGS` can be given only if the header does not hold another value for it.

    Raises:
        UserError: an unknown label, a value that does not fit it, or a setting that the header contradicts.
    """
    known = {*LABELS, *SETTINGS, NAME}
    for name, value in labels.items():
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"{log.path}: there is no label '{name}'{hint}: use {', '.join([*LABELS, *SETTINGS])}")
        there = log.identity.get(identity_key(name)) if name in SETTINGS else None
        if there not in (None, value):
            raise UserError(f"{log.path}: its header says {name} = {there}, a label cannot change it to {value}")
    settings = {identity_key(name): value for name, value in labels.items() if name in SETTINGS}
    header = log.header or {"identity": {}, "context": {}}
    context = header["context"]
    own = {name: value for name, value in labels.items() if name not in SETTINGS}
    context = {**context, "labels": {**(context.get("labels") or {}), **own}}
    labelled = replace(log, header={**header, "identity": {**header["identity"], **settings}, "context": context})
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
        labels = _parse(name, words)
        for place in places:
            logs[place] = relabel(logs[place], labels)
    return logs


def _parse(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Return the labels of words such as ``method=RS`` or ``sigma=[0, 0.75]``."""
    labels: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise UserError(
                f"--label {name}: '{word}' is not of the form key=value, such as method=RS; write the logs of the table"
                " before --label"
            )
        if key.strip() in labels:
            raise UserError(f"--label {name}: '{key.strip()}' is given twice")
        labels[key.strip()] = _value(value.strip())
    if not labels:
        raise UserError(f"--label {name}: no label follows; give one such as method=RS")
    return labels


def _value(text: str) -> Any:
    if pair := _PAIR.fullmatch(text):
        return [_value(part.strip()) for part in pair.groups()]
    return _WORDS[text.lower()] if text.lower() in _WORDS else parse_value(text)
