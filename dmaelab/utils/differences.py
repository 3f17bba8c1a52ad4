"""Compare two nested mappings and list the keys whose values differ."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

ABSENT = object()
"""Stands for the value of a key that one of the mappings does not have."""


class Difference(NamedTuple):
    """One key with different values in two mappings. ``str`` gives a readable sentence.

    Attributes:
        key: path of the key, such as ``certifier.n`` or ``data.augment.0.size``.
        there: the value in the first mapping, or :data:`ABSENT`.
        here: the value in the second mapping, or :data:`ABSENT`.
    """

    key: str
    there: Any
    here: Any

    def between(self, first: str, second: str) -> str:
        """Return a sentence such as ``"sigma is 0.25 in A, 0.5 in B"`` if ``first`` is "in A", ``second`` "in B"."""
        return f"{self.key} is {_shown(self.there)} {first}, {_shown(self.here)} {second}"

    def __str__(self) -> str:
        return self.between("there", "here")


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[Difference]:
    """Return the differences of two plain mappings, sorted by key at each level.

    Nested mappings are compared key by key. Two lists of equal length that contain mappings are compared item by item.
    Other lists are compared as a whole.
    """
    return list(_compare("", there, here))


def listed(found: Iterable[Difference], there: str = "there", here: str = "here") -> str:
    """Return differences as one line such as ``"n is 100 in A, 10 in B; sigma is 0.25 in A, 0.5 in B"``.

    Args:
        found: the differences.
        there: words that say where the first values stand, such as "in A".
        here: words that say where the second values stand.
    """
    return "; ".join(difference.between(there, here) for difference in found)


def _compare(key: str, there: Any, here: Any) -> Iterator[Difference]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in sorted(there.keys() | here.keys()):
            yield from _compare(f"{key}.{name}" if key else name, there.get(name, ABSENT), here.get(name, ABSENT))
    elif _are_lists_of_mappings(there, here):
        for place, pair in enumerate(zip(there, here, strict=True)):
            yield from _compare(f"{key}.{place}", *pair)
    elif there is not here and there != here:
        yield Difference(key, there, here)


def _are_lists_of_mappings(there: Any, here: Any) -> bool:
    lists = all(isinstance(value, Sequence) and not isinstance(value, str) for value in (there, here))
    return lists and len(there) == len(here) and any(isinstance(item, Mapping) for item in [*there, *here])


def _shown(value: Any) -> str:
    return "absent" if value is ABSENT else repr(value)
