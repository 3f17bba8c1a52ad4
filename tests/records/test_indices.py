import random

import pytest

from dmaelab.records.indices import format_indices, parse_indices, subset
from dmaelab.utils.errors import UserError


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ([], ""),
        ([7], "7"),
        ([3, 7], "3,7"),
        ([4, 5], "4:6"),
        (range(0, 500, 50), "0:451:50"),
        ([5, 9, 10, 11, 12, 40], "5,9:13,40"),
    ],
)
def test_text_of_indices(indices, text):
    assert format_indices(indices) == text
    assert parse_indices(text) == list(indices)


def test_any_indices_come_back():
    numbers = random.Random(0)
    for _ in range(500):
        indices = sorted(numbers.sample(range(60), numbers.randint(0, 40)))
        assert parse_indices(format_indices(reversed(indices))) == indices


@pytest.mark.parametrize("text", ["a", "1:2:3:4", "1::2", "0:9:0"])
def test_other_text_is_refused(text):
    with pytest.raises(UserError, match="not a list of image indices"):
        parse_indices(text)


def test_a_subset_does_not_depend_on_the_order():
    assert subset([3, 1, 2]) == subset(range(1, 4))
    assert subset([1, 2])["hash"] != subset([1, 3])["hash"]
