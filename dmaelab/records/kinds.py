"""Kinds of values that headers, labels and cells can have: a check, and words for messages."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of value: ``fits(value)`` checks a value, ``words`` describe it in messages."""

    fits: Callable[[Any], bool]
    words: str


def is_number(value: Any) -> bool:
    """Return whether a value is an int or a float that a finite float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def is_whole(value: Any, least: int) -> bool:
    """Return whether a value is an int, and no bool, of at least ``least``."""
    return type(value) is int and value >= least


SWITCH = Kind(lambda value: type(value) is bool, "true or false")
COUNT = Kind(lambda value: is_whole(value, 1), "a whole number, at least 1")
LEVEL = Kind(lambda value: is_number(value) and 0 < value < 1, "a number between 0 and 1, such as 0.001")
