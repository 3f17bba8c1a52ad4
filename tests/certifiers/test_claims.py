import math

import pytest

from dmaelab.certifiers.claims import TOLERANCE, look_of, too_large, too_small, votes_add_up


@pytest.mark.parametrize(
    ("claim", "large", "small"),
    [
        (0.5, False, False),
        (0.5 + TOLERANCE / 2, False, False),
        (0.5 - TOLERANCE / 2, False, False),
        (0.5 + 2 * TOLERANCE, True, False),
        (0.5 - 2 * TOLERANCE, False, True),
        (math.nan, True, True),
    ],
)
def test_a_claim_may_differ_by_rounding_only(claim, large, small):
    assert too_large("p_lower", claim, 0.5) == (["p_lower is too large, from the counts follows 0.5"] if large else [])
    assert too_small("p_upper", claim, 0.5) == (["p_upper is too small, from the counts follows 0.5"] if small else [])


def test_a_look_is_two_numbers():
    assert look_of("90/100") == (90, 100)
    for cell in ("90", "90/x", "1/2/3"):
        with pytest.raises(ValueError, match=r"int|unpack"):
            look_of(cell)
    with pytest.raises(AttributeError):
        look_of(math.nan)


@pytest.mark.parametrize(
    ("n", "count_a", "count_b", "runner_up", "expected"),
    [
        (100, 60, 40, 2, True),
        (100, 40, 20, 1, True),  # 40 + 3 * 20: the other two classes and the non-finite outputs have 20 each at most
        (100, 30, 23, 1, False),  # 30 + 3 * 23 = 99: a vote is missing
        (100, 60, 41, 1, False),
        (100, 40, 20, 2, False),  # class 1 has at most 19, else it would be the runner-up
        (99, 40, 20, 2, True),
        (98, 40, 20, 3, True),  # non-finite outputs come last: classes 1 and 2 have at most 19
        (99, 40, 20, 3, False),
        (100, 100, 0, 1, True),
        (100, 100, 0, 2, False),  # of classes without a vote the first is the runner-up
        (100, 100, 0, math.nan, False),
    ],
)
def test_votes_of_three_classes(n, count_a, count_b, runner_up, expected):
    row = {"n": n, "top": 0, "count_a": count_a, "count_b": count_b, "runner_up": runner_up}
    assert votes_add_up(row, num_classes=3) is expected


def test_the_selected_class_itself_does_not_come_before_the_runner_up():
    assert votes_add_up({"n": 9, "top": 1, "count_a": 3, "count_b": 2, "runner_up": 2}, num_classes=3) is False
    assert votes_add_up({"n": 8, "top": 1, "count_a": 3, "count_b": 2, "runner_up": 2}, num_classes=3) is True
    assert votes_add_up({"n": 9, "top": 2, "count_a": 9, "count_b": 0, "runner_up": 0}, num_classes=3) is True
