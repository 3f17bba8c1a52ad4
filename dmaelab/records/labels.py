"""The labels of trainings and logs: their names, types and meanings, and how they are read from the header of a log.

The section ``labels`` of a training config says what was trained. A certification copies it to the header of its log,
and the tables of the paper group logs by it. :data:`LABELS` is the only list of these labels. The config check, the
inheritance of labels by a fine-tuning, the reader of headers and the option ``--label`` all use it. Labels that are not
in the list are allowed in configs and headers: logs with different values of such a label are different models.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from dmaelab.records.readers import Log
from dmaelab.utils.errors import UserError


@dataclass(frozen=True)
class Kind:
    """A kind of value that a label can have: ``fits(value)`` checks a value, ``words`` describe it in messages."""

    fits: Callable[[Any], bool]
    words: str


@dataclass(frozen=True)
class Label:
    """One label.

    Attributes:
        config: type of the value in the section ``labels`` of a training config.
        kind: allowed values in a log. It allows more than ``config``, because logs of others are labelled by hand.
        meaning: description of the label.
        inherited: whether a fine-tuning takes the label from the run whose weights it starts from.
    """

    config: Any
    kind: Kind
    meaning: str
    inherited: bool = False


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_sigma(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) == 2 and all(map(_is_number, value)) and 0 <= value[0] < value[1]
    return _is_positive(value)


_SCALAR = Kind(lambda value: isinstance(value, str) or _is_number(value), "text or a number")
_SWITCH = Kind(lambda value: type(value) is bool, "true or false")
_COUNT = Kind(lambda value: type(value) is int and value > 0, "a whole number, at least 1")
_POSITIVE = Kind(_is_positive, "a number > 0")
_SIGMA = Kind(_is_sigma, "a number > 0 or a pair such as [0, 0.75]")
_LEVEL = Kind(lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1, such as 0.001")

LABELS = {
    "method": Label(str | None, _SCALAR, "method of the fine-tuning, such as RS, CR or probe, or any other text"),
    "pretrain": Label(str | None, _SCALAR, "DMAE or MAE; missing if there was no pre-training", inherited=True),
    "backbone": Label(str | None, _SCALAR, "name of the network, such as ViT-B"),
    "params": Label(str | None, _SCALAR, "number of parameters as text, such as 87M"),
    "extra_data": Label(bool | None, _SWITCH, "whether other data than the training set was used"),
    "sigma": Label(
        float | tuple[float, float] | None, _SIGMA, "sigma of the training in [0,1] pixel units, or its range"
    ),
    "epochs": Label(int | None, _POSITIVE, "epochs of the pre-training", inherited=True),
    "continued": Label(
        bool | None, _SWITCH, "whether pre-training was continued on the data set of the fine-tuning", inherited=True
    ),
    "dataset": Label(str | None, _SCALAR, "name of the data set"),
    "seed": Label(int | None, _SCALAR, "seed of the training; logs that differ only in it form one row of a table"),
}
"""Name -> label. These labels describe a training."""

SETTINGS = {"eval_sigma": _POSITIVE, "n": _COUNT, "n0": _COUNT, "alpha": _LEVEL}
"""Settings of a certification. The header of a log holds them; for a log without a header, labels do."""

NAME = "label"
"""One more label: the name of a log in a plain table. It never tells two models apart."""

SELECTED_BY = "selected_by"
"""Label that a certification sets: the metric on the test data by which the weights were selected."""

INHERITED = tuple(name for name, label in LABELS.items() if label.inherited)

CONFIG_SECTION = Signature(
    [
        *(Parameter(n, Parameter.KEYWORD_ONLY, default=None, annotation=one.config) for n, one in LABELS.items()),
        Parameter("others", Parameter.VAR_KEYWORD, annotation=Any),
    ]
)
"""What the config check accepts in the section ``labels``: the labels with their types, and any other key."""

_KINDS = {**{name: label.kind for name, label in LABELS.items()}, **SETTINGS}


def identity_key(setting: str) -> str:
    """Return the key in the identity of a header that holds one of :data:`SETTINGS`."""
    return "sigma" if setting == "eval_sigma" else setting


def labels_of(log: Log) -> dict[str, Any]:
    """Return the labels of a log and its :data:`SETTINGS`, without keys that have no value.

    Lists become tuples, so that every value can be a key of a dict. ``continued: false`` is left out, because it means
    the same as a missing label.

    Raises:
        UserError: a value does not fit its label.
    """
    given = (log.header or {}).get("context", {}).get("labels") or {}
    settings = {name: log.identity.get(identity_key(name)) for name in SETTINGS}
    labels = {name: _hashable(value) for name, value in {**given, **settings}.items() if value is not None}
    for name, value in labels.items():
        if name in _KINDS and not _KINDS[name].fits(value):
            right = _KINDS[name].words
            raise UserError(f"{log.path}: the label {name} is {json.dumps(value)}, it should be {right}")
    if labels.get("continued") is False:
        del labels["continued"]
    return labels


def _hashable(value: Any) -> Any:
    """Return a value with lists as tuples and dicts as JSON text."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
