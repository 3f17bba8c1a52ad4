import math
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from dmaelab.config import LazyCall as L
from dmaelab.config import instantiate
from dmaelab.engine.hooks import ScheduleHook
from dmaelab.solver import build_adamw, scaled_lr, warmup_cosine, warmup_cosine_epochs
from dmaelab.utils.errors import ConfigError


def reference(epoch, epochs, warmup, lr, min_lr=0.0):
    """The rate by epoch as MAE and DMAE define it."""
    if epoch < warmup:
        return lr * epoch / warmup
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.0), (20, 1.2e-3), (40, 2.4e-3), (570, 1.2e-3)])
def test_check_values_of_the_base_recipe(epoch, rate):
    assert abs(2.4e-3 * warmup_cosine_epochs(40, 1100)(epoch / 1100) - rate) <= 1e-12


@pytest.mark.parametrize(
    ("epochs", "warmup", "lr", "min_lr"),
    [
        pytest.param(1100, 40, 2.4e-3, 0.0, id="pre-training B"),
        pytest.param(1600, 40, 2.4e-3, 0.0, id="pre-training L"),
        pytest.param(50, 10, 1e-4, 0.0, id="pre-training CIFAR"),
        pytest.param(100, 5, 2e-3, 1e-6, id="fine-tuning B"),
        pytest.param(50, 5, 4e-3, 1e-6, id="fine-tuning L"),
        pytest.param(50, 5, 5e-4, 1e-6, id="fine-tuning CIFAR"),
        pytest.param(90, 10, 6.4, 0.0, id="linear probe"),
    ],
)
def test_whole_recipes(epochs, warmup, lr, min_lr):
    schedule = warmup_cosine_epochs(warmup, epochs, min_lr / lr)
    assert schedule(0.0) == 0
    for step in range(7 * epochs):
        # During the rise the reference goes to lr from 0 also where min_lr is not 0, and so do we.
        assert abs(lr * schedule(step / (7 * epochs)) - reference(step / 7, epochs, warmup, lr, min_lr)) <= 1e-12


def test_the_smallest_rate_is_scaled_by_layer():
    """Fine-tuning of ViT-B: the schedule and the layer's scale multiply, so min_lr shrinks towards the input as lr
    does.
    """
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr_scale": 0.65**13}], lr=2e-3)
    hook = ScheduleHook(warmup_cosine_epochs(5, 100, final=1e-6 / 2e-3))
    for step, rate in ((0, 0.0), (50, 2e-3), (1000, 1e-6)):  # the last is never taken
        hook.trainer = SimpleNamespace(step=step, max_iter=1000, optimizer=optimizer)
        hook.before_step()
        assert abs(optimizer.param_groups[0]["lr"] - rate * 0.65**13) <= 1e-12


@pytest.mark.parametrize(
    ("base", "batch", "lr"),
    [
        (1.5e-4, 4096, 2.4e-3),
        (5e-4, 1024, 2e-3),
        (1e-3, 1024, 4e-3),
        (0.1, 16384, 6.4),
        (5e-5, 512, 1e-4),
        (5e-4, 256, 5e-4),
    ],
)
def test_linear_rule(base, batch, lr):
    assert abs(scaled_lr(base, batch) - lr) <= 1e-15


def test_linear_rule_in_a_config():
    """It follows an override of the batch size."""
    optimizer = L(build_adamw)(lr=L(scaled_lr)(base_lr=1.5e-4, batch_size="${train.batch_size}"))
    cfg = OmegaConf.create({"optimizer": optimizer, "train": {"batch_size": 512}})
    assert instantiate(cfg.optimizer, model=nn.Linear(2, 2)).defaults["lr"] == 3e-4


@pytest.mark.parametrize("values", [(0.0, 256), (-1e-3, 256), (1e-3, 0), (float("nan"), 256)])
def test_bad_linear_rule(values):
    with pytest.raises(ConfigError, match=r"scaled_lr: base_lr .* and batch_size .* must both be more than 0"):
        scaled_lr(*values)


@pytest.mark.parametrize(("warmup", "epochs"), [(5, 5), (6, 5), (-1, 5), (0, 0)])
def test_bad_epochs(warmup, epochs):
    with pytest.raises(
        ConfigError, match=rf"schedule\.warmup_epochs is {warmup} of {epochs} epochs: give a number in \[0, {epochs}\)"
    ):
        warmup_cosine_epochs(warmup, epochs)


def test_without_warmup_it_starts_at_the_peak():
    schedule = warmup_cosine(warmup=0, final=0.1)
    assert schedule(0.0) == 1
    assert schedule(0.5) == pytest.approx(0.55)
    assert schedule(1 - 1e-9) == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [-0.1, 1, 5])
def test_bad_share(warmup):
    with pytest.raises(ConfigError, match=r"schedule\.warmup is .*: give a fraction of the training"):
        warmup_cosine(warmup=warmup)
