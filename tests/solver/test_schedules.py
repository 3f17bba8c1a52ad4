import math

import pytest

from dmaelab.solver import warmup_cosine
from dmaelab.utils.errors import ConfigError


def reference(epoch, epochs, warmup, lr, min_lr=0.0):
    """The rate by epoch as MAE and DMAE define it."""
    if epoch < warmup:
        return lr * epoch / warmup
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.0), (20, 1.2e-3), (40, 2.4e-3), (570, 1.2e-3)])
def test_check_values_of_the_base_recipe(epoch, rate):
    assert abs(2.4e-3 * warmup_cosine(warmup=40 / 1100)(epoch / 1100) - rate) <= 1e-9


@pytest.mark.parametrize(
    ("epochs", "warmup", "lr", "min_lr"), [(1100, 40, 2.4e-3, 0.0), (1600, 40, 2.4e-3, 0.0), (50, 10, 1e-4, 0.0), (100, 5, 2e-3, 1e-6)]
)
def test_whole_recipes(epochs, warmup, lr, min_lr):
    schedule = warmup_cosine(warmup=warmup / epochs, final=min_lr / lr)
    for step in range(4 * epochs):
        epoch = step / 4
        # During the rise the reference goes to lr from 0 also where min_lr is not 0, and so do we.
        assert abs(lr * schedule(epoch / epochs) - reference(epoch, epochs, warmup, lr, min_lr)) <= 1e-9


def test_without_warmup_it_starts_at_the_peak():
    schedule = warmup_cosine(warmup=0, final=0.1)
    assert schedule(0.0) == 1
    assert schedule(0.5) == pytest.approx(0.55)
    assert schedule(1 - 1e-9) == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [-0.1, 1, 5])
def test_bad_share(warmup):
    with pytest.raises(ConfigError, match=r"schedule\.warmup is .*: give a share of the training"):
        warmup_cosine(warmup=warmup)
