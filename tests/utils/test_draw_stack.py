"""Several draws as one give what each gives by itself, or refuse."""

import pytest
import torch

from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw, DrawStack

SHAPE = (6, 3, 5, 5)  # three draws of two images: an odd number of words is needed for each


def draws():
    return [Draw(0, "call", chunk) for chunk in range(3)]


def stack():
    return DrawStack(draws(), SHAPE)


def one_by_one(ask):
    return torch.cat([ask(draw) for draw in draws()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_numbers(dtype):
    torch.testing.assert_close(
        stack().normal(SHAPE, dtype), one_by_one(lambda draw: draw.normal((2, *SHAPE[1:]), dtype))
    )


def test_words_and_uniform_numbers_are_equal():
    assert torch.equal(stack().bits(450), one_by_one(lambda draw: draw.bits(150)))
    assert torch.equal(stack().uniform(SHAPE), one_by_one(lambda draw: draw.uniform((2, *SHAPE[1:]))))
    assert torch.equal(stack().uniform((6,)), one_by_one(lambda draw: draw.uniform((2,))))
    assert torch.equal(stack().child("a", 1).bits(450), one_by_one(lambda draw: draw.child("a", 1).bits(150)))


@pytest.mark.parametrize(
    "ask",
    [
        lambda draw: draw.normal((3, 5, 5)),  # one pattern for all images: it would be cut into the three draws
        lambda draw: draw.uniform((3,)),
        lambda draw: draw.bits(3),
        lambda draw: draw.bits(900),
        lambda draw: draw.normal((12, 3, 5, 5)),
    ],
)
def test_what_means_nothing_for_several_is_refused(ask):
    with pytest.raises(UserError, match=r"stacked for images of shape \[6, 3, 5, 5\] cannot give .* stackable = False"):
        ask(stack())


def test_a_draw_of_a_stack_is_used_up():
    used = draws()
    DrawStack(used, SHAPE).normal(SHAPE)
    with pytest.raises(RuntimeError, match="has been used"):
        used[1].bits(1)
