import math
from decimal import Decimal

import numpy as np
import pytest

from dmaelab.records.row import (
    BASE_COLUMNS,
    CERTIFY_COLUMNS,
    floor_radius,
    format_row,
    format_value,
    make_row,
    parse_row,
    parse_value,
)
from dmaelab.utils.errors import UserError

WORST = [
    0.1 + 0.2,
    0.29,
    1.005,
    0.1234565,
    0.9999999,
    3.8114565633899145,
    1e-7,
    5e-324,
    0.57,
    1.1,
    4.35,
    math.nextafter(0.25, 0),
]


@pytest.mark.parametrize("radius", WORST)
def test_radius_is_rounded_down_whatever_its_bits(radius):
    text = floor_radius(radius)
    assert Decimal(text) <= Decimal(radius) < Decimal(text) + Decimal("0.000001")
    assert len(text.split(".")[1]) == 6
    assert float(text) <= radius


def test_radius_is_rounded_down_at_and_beside_multiples():
    for multiple in np.random.default_rng(0).integers(1, 4_000_000, 500) / 1e6:
        for radius in (multiple, math.nextafter(multiple, 0), math.nextafter(multiple, math.inf)):
            text = floor_radius(radius)
            assert Decimal(text) <= Decimal(radius) < Decimal(text) + Decimal("0.000001")


def test_radius_columns_hold_no_impossible_radius():
    assert floor_radius(-0.0) == floor_radius(0) == "0.000000"
    assert floor_radius(np.float64(0.5)) == "0.500000"
    for radius in (math.nan, math.inf, -0.1):
        with pytest.raises(UserError, match="finite and >= 0"):
            floor_radius(radius)


@pytest.mark.parametrize(
    "value", [0.1, 1 / 3, 1.0, 5e-324, 1.7e308, 0, -1, 12345678901234567890, "99/100", "n", "1_000"]
)
def test_cells_read_back_exactly(value):
    back = parse_value(format_value(value))
    assert back == value
    assert type(back) is type(value)


def test_numbers_of_numpy_are_written_as_numbers():
    assert format_value(np.float64(0.1)) == "0.1"
    assert format_value(np.float32(0.1)) == repr(float(np.float32(0.1)))
    assert format_value(np.int64(7)) == "7"
    assert format_value(np.bool_(True)) == format_value(True) == "1"
    assert math.isnan(parse_value(format_value(math.nan)))


def test_text_that_would_break_the_table_is_refused():
    with pytest.raises(UserError, match="cannot contain tabs"):
        format_value("a\tb")


def test_a_row_has_all_columns_in_order():
    columns = (*BASE_COLUMNS, *CERTIFY_COLUMNS)
    extra = {column: math.nan for column in CERTIFY_COLUMNS}
    extra |= {"top": 3, "radius_full": 0.1 + 0.2, "p_lower": 0.9, "look_a": "99/100", "stop_reason": "n"}
    row = make_row(20, 3, 3, 0.1 + 0.2, 0.25, extra)
    line = format_row(columns, row)
    assert line.split("\t")[:6] == ["20", "3", "3", "0.300000", "1", "0.250000"]
    back = parse_row(columns, line.split("\t"))
    assert back["radius_full"] == 0.1 + 0.2
    assert (back["idx"], back["look_a"], back["stop_reason"]) == (20, "99/100", "n")
    assert math.isnan(back["p_upper"])


@pytest.mark.parametrize(("prediction", "label", "correct"), [(3, 3, 1), (2, 3, 0), (-1, 3, 0), (-1, -1, 0)])
def test_correct_is_an_answer_that_equals_the_label(prediction, label, correct):
    assert make_row(0, label, prediction, 0.0, 0.0, {})["correct"] == correct


def test_a_row_that_does_not_fit_its_columns_is_refused():
    row = make_row(0, 1, 1, 0.5, 0.0, {"mine": 1})
    with pytest.raises(UserError, match=r"missing \['top'\], unknown \['mine'\]"):
        format_row((*BASE_COLUMNS, "top"), row)


def test_a_certifier_may_bring_columns_of_its_own():
    columns = (*BASE_COLUMNS, "votes")
    assert (
        parse_row(columns, format_row(columns, make_row(0, 1, 1, 0.5, 0.0, {"votes": "1,2,3"})).split("\t"))["votes"]
        == "1,2,3"
    )
