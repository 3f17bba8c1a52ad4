"""The search by itself: with any function that gives logits of noisy copies, as a loss would write it."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dmaelab.attacks import PGD, Balls
from dmaelab.corruptions import Gaussian
from dmaelab.modeling import NoisyContext
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

SIGMA, COPIES = 0.25, 4


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 3))


@pytest.fixture
def batch():
    """Images [32,3,4,4] of a training batch, and their classes."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(32, 3, 4, 4, generator=generator), torch.randint(3, (32,), generator=generator)


class Noisy:
    """Logits of the copies of all images of a batch, their noise made at once from one draw for each step."""

    def __init__(self, net, draw):
        self.net, self.draw, self.corruption, self.rows = net, draw, Gaussian(SIGMA), []

    def __call__(self, candidates, step):
        copies = candidates.repeat_interleave(COPIES, 0)
        sigma = torch.full((len(copies),), SIGMA)
        self.rows.append(len(copies))
        return self.net(self.corruption.apply(copies, sigma, self.draw.child("noise", step)))


def radii(batch, value=0.5):
    return torch.full((len(batch[0]),), value, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_loss_attacks_its_batch_before_it_trains_on_it(net, batch, norm):
    images, classes = batch
    draw = Draw(0, "train", 7)
    noisy, balls = Noisy(net, draw.child("attack")), Balls(images, radii(batch, 0.5 if norm == "l2" else 3.0), norm)
    found, distances = PGD(steps=5, restarts=1, samples=COPIES).search(noisy, balls, classes)
    assert noisy.rows == [32 * COPIES] * 5  # one forward a step for the whole batch
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert not found.requires_grad
    assert (distances < balls.radii.flatten()).all()
    assert 0 <= found.min() <= found.max() <= 1

    def loss(images):
        logits = Noisy(net, draw.child("train"))(images, 0)
        return nn.functional.cross_entropy(logits, classes.repeat_interleave(COPIES))

    assert loss(found) > loss(images) + 0.05
    loss(found).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())


def test_the_example_of_a_loss(net, batch):
    text = (Path(__file__).parents[2] / "docs/attack.md").read_text()
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "context" in block]
    names = {}
    exec(example, names)
    images, classes = batch
    given = SimpleNamespace(images=images, targets=classes, progress=0.0, draw=Draw(0, "train", 3))
    context = NoisyContext(net.train(), Gaussian(SIGMA), given, 1)

    def loss(images):
        return nn.functional.cross_entropy(net(context.noisy(images, 8).images), classes.repeat(8))

    found = names["attacked"](context)
    assert loss(found) > loss(images) + 0.05
    assert net.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_parameters_may_be_frozen_and_gradients_off_outside(net, batch):
    balls, attack = Balls(batch[0], radii(batch), "l2"), PGD(3, 1, COPIES)
    expected = attack.search(Noisy(net, Draw(0, "train", 1)), balls, batch[1])
    net.requires_grad_(False)
    with torch.no_grad():
        found = attack.search(Noisy(net, Draw(0, "train", 1)), balls, batch[1])
    assert all(map(torch.equal, found, expected))


def test_an_attempt_begins_where_it_is_told_to(net, batch):
    seen = []

    def noisy(candidates, step):
        seen.append(candidates.detach().clone())
        return Noisy(net, Draw(0, "train", 1))(candidates, step)

    balls, attack = Balls(batch[0], radii(batch, 0.1), "l2"), PGD(1, 1, COPIES)
    attack.search(noisy, balls, batch[1])
    assert torch.equal(seen[0], batch[0])
    directions = Draw(0, "train", 2).normal((32, 48)).double()
    start = balls.at(0.5 * directions / balls.length(directions).unsqueeze(1))
    attack.search(noisy, balls, batch[1], start)
    distances = balls.distances(seen[1])
    assert distances.min() > 0.01
    assert distances.max() < 0.1


def test_without_a_gradient_a_row_stays_or_goes_where_it_is_sent(batch):
    images, classes = batch
    weight = torch.zeros(32, 1, 1)
    weight[:8] = 1  # the first rows have a gradient

    def noisy(candidates, step):
        logits = torch.stack([(weight * c).flatten(1).sum(1) for c in candidates.split(1, 1)], dim=1)
        return logits.repeat_interleave(COPIES, 0)

    asked = []

    def directions(rows, step):
        asked.append((rows, step))
        return torch.ones(len(rows), 48)

    weight = weight.view(32, 1, 1, 1)
    balls, attack = Balls(images, radii(batch), "l2"), PGD(2, 1, COPIES)
    assert (attack.search(noisy, balls, classes)[1] > 0).tolist() == [True] * 8 + [False] * 24
    assert (attack.search(noisy, balls, classes, directions=directions)[1] > 0).all()
    assert asked == [(list(range(8, 32)), 0), (list(range(8, 32)), 1)]


@pytest.mark.parametrize("rows", [31 * COPIES, 32])
def test_logits_of_another_shape_are_one_line(batch, rows):
    with pytest.raises(UserError, match=rf"shape \[{rows}, 3\] for 4 noisy copies of each of 32 images") as caught:
        PGD(1, 1, COPIES).search(
            lambda candidates, step: torch.zeros(rows, 3), Balls(batch[0], radii(batch), "l2"), batch[1]
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["steps", "restarts", "samples"])
def test_an_attack_needs_at_least_one_of_each(name):
    with pytest.raises(UserError, match=f"{name} is 0"):
        PGD(**{name: 0})
