import json
from pathlib import Path

import pytest

from dmaelab.stats.bounds import clopper_pearson_lower, clopper_pearson_upper
from dmaelab.stats.evalues import sequence_lower
from dmaelab.stats.looks import Looks, is_look, least_count, look_totals

TWO_SIDED = json.loads((Path(__file__).parents[1] / "data" / "golden_sequential_extra.json").read_text())[
    "seq_two_sided"
]


def test_a_fixed_number_of_samples_is_clopper_pearson_and_says_nothing_earlier():
    looks = Looks(1000, 0.001)
    assert looks.lower(900, 1000) == clopper_pearson_lower(900, 1000, 0.001)
    assert looks.lower_beside(900, 1000) == clopper_pearson_lower(900, 1000, 0.0009)
    assert looks.upper_beside(50, 1000) == pytest.approx(clopper_pearson_upper(50, 1000, 0.0001), abs=1e-12)
    assert looks.lower(900, 999) == 0
    assert looks.upper_beside(50, 999) == 1


def test_the_levels_add_up_to_alpha():
    looks = Looks(1000, 0.001, share=0.1)
    assert looks.lower(90, 100) == sequence_lower(90, 100, 0.0001)
    assert looks.lower(900, 1000) == clopper_pearson_lower(900, 1000, 0.0009)  # the better one of the last look
    assert looks.lower(900, 1000) > sequence_lower(900, 1000, 0.0001)
    assert looks.upper_beside(10, 100) == pytest.approx(1 - sequence_lower(90, 100, 0.00001), abs=1e-9)


@pytest.mark.parametrize("golden", TWO_SIDED, ids=lambda g: f"{g['nA']}-{g['nB']}of{g['t']}")
def test_golden_bounds_of_both_sides(golden):
    looks = Looks(10**6, golden["alpha"], golden["share_s"], golden["w"])
    lower = looks.lower_beside(golden["nA"], golden["t"])
    assert lower == pytest.approx(golden["L"], abs=1e-9)
    assert min(looks.upper_beside(golden["nB"], golden["t"]), 1 - lower) == pytest.approx(golden["U"], abs=1e-9)


def test_bounds_never_pass_the_golden_ones():
    for golden in TWO_SIDED:
        looks = Looks(10**6, golden["alpha"], golden["share_s"], golden["w"])
        assert looks.lower_beside(golden["nA"], golden["t"]) <= golden["L"]
        assert looks.upper_beside(golden["nB"], golden["t"]) >= golden["U"]


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_the_least_count_is_where_the_last_look_begins_to_reach(share):
    looks = Looks(1000, 0.001, share=share)
    for needed in (0.5, 0.69, 0.99):
        least = least_count(looks, needed)
        assert looks.lower(least - 1, 1000) < needed <= looks.lower(least, 1000)
    assert least_count(looks, 0.9999) == 1001


def test_totals_of_looks():
    assert look_totals(50, 1.25) == [50]
    assert look_totals(100, 1.25) == [100]
    totals = look_totals(100_000, 1.25)
    assert (totals[:3], totals[-1]) == ([100, 125, 157], 100_000)
    assert len(totals) == 32
    assert totals == sorted(set(totals))
    assert len(look_totals(100_000, 1.5)) < 20


@pytest.mark.parametrize("growth", [1.01, 1.1, 1.25, 1.5, 2.0, 3.7, 1e9])
@pytest.mark.parametrize("n", [1, 99, 100, 101, 124, 125, 2000, 99_999])
def test_a_look_is_one_of_the_totals(n, growth):
    totals = set(look_totals(n, growth))
    assert {total for total in range(min(n, 5000) + 2) if is_look(total, n, growth)} == {
        total for total in totals if total < min(n, 5000) + 2
    }
    assert all(is_look(total, n, growth) for total in totals)


def test_a_growth_near_one_takes_no_time():
    assert is_look(50_000, 100_000, 1 + 1e-12)
