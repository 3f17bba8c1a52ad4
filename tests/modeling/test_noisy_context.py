"""What a loss gets to see of a batch."""

import pytest
import torch
from torch import nn

from dmaelab.corruptions import Gaussian
from dmaelab.modeling import NoisyContext
from dmaelab.utils.random import Draw


@pytest.fixture
def context(batch):
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    return NoisyContext(classifier, Gaussian((0.1, 0.5)), batch(), 2)


def test_one_tag_is_one_noise(context):
    first, again, other = context.noisy(), context.noisy(tag="train"), context.noisy(tag="attack")
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.images, other.images)


def test_the_noise_does_not_depend_on_the_images(context):
    """So an attack on shifted images and the outer loss see one eta."""
    shifted = context.noisy(images=context.images + 1)
    torch.testing.assert_close(shifted.images - 1, context.noisy().images, atol=1e-5, rtol=0)


def test_fewer_copies_are_the_first_of_many(context):
    assert torch.equal(context.noisy(copies=1).images, context.noisy(copies=4).images[:6])
    assert context.noisy().images.shape[0] == 12


def test_noise_passes_gradients_to_images(context):
    images = context.images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(context.noisy(images=images).images.sum(), images)
    torch.testing.assert_close(grad, torch.full_like(images, 2.0))


def test_draw_is_apart_from_the_noise(context):
    assert context.draw.child("own").seed() != Draw(0, "train", 0, 0).child("corruption", "own").seed()
    assert torch.equal(context.draw.child("own").bits(2), context.draw.child("own").bits(2))


def test_an_attack_differentiates_images_while_frozen(context):
    before = [p.clone() for p in context.classifier.parameters()]
    images = context.images.clone().requires_grad_()
    statistics = context.classifier[2].running_mean.clone()
    with context.frozen() as classifier:
        assert classifier is context.classifier
        (grad,) = torch.autograd.grad(classifier(context.noisy(images=images, copies=1).images).square().sum(), images)
    assert grad.abs().sum() > 0
    assert all(p.grad is None for p in context.classifier.parameters())
    assert all(map(torch.equal, before, context.classifier.parameters()))
    assert torch.equal(context.classifier[2].running_mean, statistics)
