"""The labels of a log: what was trained, by which a table groups; and how to give them to logs that have none.

A certification copies its ``labels`` to the header of its log. Those that the paper's tables know are :data:`KEYS`; any
other label tells logs apart as well, but for ``label``, which is a name.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmaelab.records.readers import Log
from dmaelab.records.row import parse_value
from dmaelab.utils.errors import UserError, did_you_mean


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_sigma(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) == 2 and all(map(_is_number, value)) and 0 <= value[0] < value[1]
    return _is_number(value) and value > 0


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


_SCALAR = (_is_scalar, "text or a number")
_SWITCH = (lambda value: type(value) is bool, "true or false")
_COUNT = (lambda value: type(value) is int and value > 0, "a whole number, at least 1")

KEYS = {
    "method": _SCALAR,  # how it was fine-tuned: RS, CR, probe; other people's: text such as "MACER (Zhai et al., 2020)"
    "pretrain": _SCALAR,  # DMAE, MAE; none where nothing was pre-trained
    "backbone": _SCALAR,
    "params": _SCALAR,  # text such as 87M
    "extra_data": _SWITCH,
    "sigma": (_is_sigma, "a number > 0 or a pair such as [0, 0.75]"),  # of the training, in [0,1] pixel units
    "epochs": (lambda value: _is_number(value) and value > 0, "a number > 0"),  # of the pre-training
    "continued": _SWITCH,  # pre-trained further on the data set of the fine-tuning
    "dataset": _SCALAR,
    "seed": _SCALAR,
}
"""Label -> whether a value fits, and what does."""

SETTINGS = {
    "eval_sigma": (lambda value: _is_number(value) and value > 0, "a number > 0"),
    "n": _COUNT,
    "n0": _COUNT,
    "alpha": (lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1, such as 0.001"),
}
"""What the header of a log says of its certification, and labels say for logs without one."""

_IN_IDENTITY = {"eval_sigma": "sigma"}  # the others have their own names there
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_PAIR = re.compile(r"\[([^\[\],]+),([^\[\],]+)\]")


def labels_of(log: Log) -> dict[str, Any]:
    """Return the labels of a log and its settings as far as they are known; pairs as tuples, no key without a value.

    ``continued: false`` is left out, so that it is what a log without that label is.

    Raises:
        UserError: a value that does not fit its key.
    """
    given = (log.header or {}).get("context", {}).get("labels") or {}
    settings = {key: log.identity.get(_IN_IDENTITY.get(key, key)) for key in SETTINGS}
    labels = {key: _frozen(value) for key, value in {**given, **settings}.items() if value is not None}
    for key, value in labels.items():
        fits, right = {**KEYS, **SETTINGS}.get(key, (None, ""))
        if fits is not None and not fits(value):
            raise UserError(f"{log.path}: the label {key} is {json.dumps(value)}, it should be {right}")
    if labels.get("continued") is False:
        del labels["continued"]
    return labels


def relabel(log: Log, labels: Mapping[str, Any]) -> Log:
    """Return the log with labels added or replaced, None removes one; :data:`SETTINGS` only where its header is silent.

    Raises:
        UserError: an unknown key, a value that does not fit, or a setting that the header contradicts.
    """
    known = {*KEYS, *SETTINGS, "label"}
    for key, value in labels.items():
        if key not in known:
            raise UserError(
                f"{log.path}: there is no label '{key}'{did_you_mean(key, known)}: use {', '.join([*KEYS, *SETTINGS])}"
            )
        there = log.identity.get(_IN_IDENTITY.get(key, key)) if key in SETTINGS else None
        if there not in (None, value):
            raise UserError(f"{log.path}: its header says {key} = {there}, a label cannot make {value} of it")
    settings = {_IN_IDENTITY.get(key, key): value for key, value in labels.items() if key in SETTINGS}
    header = log.header or {"identity": {}, "context": {}}
    context = header["context"]
    given = {**(context.get("labels") or {}), **{key: value for key, value in labels.items() if key not in SETTINGS}}
    header = {**header, "identity": {**header["identity"], **settings}, "context": {**context, "labels": given}}
    labelled = replace(log, header=header)
    labels_of(labelled)
    return labelled


def label_logs(logs: Sequence[Log], given: Sequence[Sequence[str]]) -> list[Log]:
    """Return the logs with what ``--label LOG key=value ...`` gives them, each of ``given`` being the words after it.

    A folder labels all the logs below it.

    Raises:
        UserError: no such log, a word without ``=``, and as in :func:`relabel`.
    """
    logs = list(logs)
    for name, *words in given:
        path = Path(name).resolve()
        places = [place for place, log in enumerate(logs) if path in (log.path.resolve(), *log.path.resolve().parents)]
        if not places:
            raise UserError(
                f"--label {name}: that is none of the logs given{did_you_mean(name, [str(log.path) for log in logs])}"
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
                f"--label {name}: '{word}' is no key=value such as method=RS; write the logs of the table before"
                " --label"
            )
        if key.strip() in labels:
            raise UserError(f"--label {name}: '{key.strip()}' is given twice")
        labels[key.strip()] = _value(value.strip())
    if not labels:
        raise UserError(f"--label {name}: give it labels such as method=RS")
    return labels


def _value(text: str) -> Any:
    if pair := _PAIR.fullmatch(text):
        return [_value(part.strip()) for part in pair.groups()]
    return _WORDS[text.lower()] if text.lower() in _WORDS else parse_value(text)


def _frozen(value: Any) -> Any:
    """Return a value that can be a key of a dict, lists as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
