"""The values that the header of a log can have. Only ``--verify`` is so strict: readers accept any header they need."""

import json
import re
from collections.abc import Mapping
from typing import Any

from dmaelab.records.folders import HEADER
from dmaelab.records.kinds import COUNT, LEVEL, SWITCH, Kind, is_number, is_whole
from dmaelab.utils.errors import UserError

_DEPTH = 50
"""Largest nesting of a header; the config of a model has about ten levels."""


def _is_shape(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(is_whole(size, 1) for size in value)


def _is_subset(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"count", "hash"} and is_whole(value["count"], 1)


def _hexadecimal(digits: int) -> Kind:
    pattern = re.compile(f"[0-9a-f]{{{digits}}}")
    return Kind(lambda value: isinstance(value, str) and bool(pattern.fullmatch(value)), f"{digits} digits 0-9, a-f")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and value != ""


_TEXT = Kind(_is_text, "text that can be printed")
_TEXTS = Kind(lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of texts")
_NAMED = Kind(lambda value: isinstance(value, dict) and _is_text(value.get("name")), "a mapping with a name")

HEADER_KINDS = {
    "identity_hash": _hexadecimal(16),
    "columns": _TEXTS,
    "indices": Kind(lambda value: isinstance(value, str), "text"),
}
IDENTITY_KINDS = {
    "sigma": Kind(lambda value: is_number(value) and 1e-37 < value < 1e38, "a number > 0 that float32 can hold"),
    "alpha": LEVEL,
    "n0": Kind(lambda value: value is None or is_whole(value, 1), "a whole number, at least 1, or null"),
    "n": COUNT,
    "certifier": _NAMED,
    "corruption": _NAMED,
    "norm": _TEXT,
    "geometry": _TEXT,
    "fp_sound": SWITCH,
    "tau": Kind(lambda value: is_number(value) and value >= 0, "a number >= 0"),
    "seed": Kind(lambda value: type(value) is int, "a whole number"),
    "subset": Kind(_is_subset, "a count, at least 1, and a hash"),
    "first_image": _hexadecimal(16),
    "shape": Kind(lambda value: _is_shape(value, 3), "three whole numbers, at least 1"),
    "classes": Kind(lambda value: is_whole(value, 2), "a whole number, at least 2"),
    "network": _TEXT,
    "weights": _hexadecimal(32),
    "precision": _TEXT,
    "channels_last": SWITCH,
    "compile": Kind(lambda value: type(value) is bool or value == "blocks", "true, false or 'blocks'"),
    "cuda_graph": SWITCH,
    "attention": _TEXT,
    "batch_shape": Kind(lambda value: _is_shape(value, 4), "four whole numbers, at least 1"),
    "noise": _TEXT,
    "plugins": _TEXTS,
}
"""Key -> the values that it can have. Other keys may hold anything: nothing in a row follows from them."""

_NOT_ALWAYS = ("cuda_graph", "attention", "plugins")
"""Keys that a header has only if there is something to say."""


def check_facts(header: Mapping[str, Any]) -> None:
    """Check that a header has its keys, and that their values have the right types and ranges.

    Raises:
        UserError: a key is missing, or a value cannot stand in a header. The message names the first one.
    """
    identity = header["identity"]
    if missing := [name for name in IDENTITY_KINDS if name not in identity and name not in _NOT_ALWAYS]:
        raise UserError(f"the identity in the header lacks {', '.join(missing)}: this log cannot be verified")
    if _is_nested(header, _DEPTH):
        raise UserError(f"{HEADER} is damaged: it is nested more than {_DEPTH} levels deep")
    try:
        json.dumps(header, allow_nan=False)
    except ValueError:
        raise UserError(f"{HEADER} is damaged: it holds a number that is not finite") from None
    for values, kinds in ((header, HEADER_KINDS), (identity, IDENTITY_KINDS)):
        for key, kind in kinds.items():
            if key in values and not kind.fits(values[key]):
                raise UserError(f"{HEADER} is damaged: {key} is {json.dumps(values[key])[:40]}, not {kind.words}")


def _is_nested(value: Any, levels: int) -> bool:
    """Whether a value is nested more than ``levels`` deep."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_nested(item, levels - 1) for item in inside)
