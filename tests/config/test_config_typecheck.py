from collections.abc import Sequence
from typing import Literal, Optional

import config_toolbox as toolbox
import pytest

from dmaelab.config.typecheck import fits, kind_of, type_in_words


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, float, True), (True, float, False), (True, int, False), (1.0, int, False), (None, int | None, True),
        ("a", str, True),
        ([1, 2], tuple[int, ...], True), ([1, "a"], tuple[int, ...], False), ([1, 2], tuple[int, int, int], False),
        ([], tuple, True),
        ([1], list[float], True), ([[1, 2]], list[tuple[int, int]], True), ("abc", list[str], False),
        ({"a": 1}, dict[str, float], True),
        ({"a": "b"}, dict[str, float], False), ({"_target_": "x.y"}, int, False),
        ([{"_target_": "x.y"}], list[int], False),
        (1, toolbox.Salt, False), (3, "Forward", True), (None, None, True), (1, None, False), (1, type(None), False),
    ],
)  # fmt: skip
def test_fits(value, annotation, expected):
    assert fits(value, annotation) is expected


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "int"),
        (float | None, "float | None"),
        (Optional[str], "str | None"),  # noqa: UP045 - the old notation
        (Literal["a", "b"], "Literal['a', 'b']"),
        (Sequence[int], "collections.abc.Sequence[int]"),
    ],
)
def test_an_annotation_in_words(annotation, words):
    assert type_in_words(annotation) == words


@pytest.mark.parametrize(("value", "kind"), [("a", "text"), (None, "None"), (True, "bool"), ([1], "list")])
def test_the_kind_of_a_value(value, kind):
    assert kind_of(value) == kind
