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
    ("n", "count_a", "count_b", "expected"),
    [
        (100, 60, 40, True),
        (100, 60, 20, True),  # 60 + 3 * 20: the other two classes and the non-finite outputs have 20 each at most
        (100, 30, 23, False),  # 30 + 3 * 23 = 99: a vote is missing
        (100, 60, 41, False),
    ],
)
def test_votes_of_three_classes(n, count_a, count_b, expected):
    assert votes_add_up({"n": n, "count_a": count_a, "count_b": count_b}, num_classes=3) is expected
