"""Quantised Gaussian noise: integers first, one fixed function of their sum after."""

import numpy as np
import pytest
import torch
from scipy import stats

from dmaelab.corruptions import QuantisedGaussian
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

SHAPE = (8, 3, 32, 32)


def draw(*key):
    return Draw(0, "train", "quantised", *key)


def pictures():
    """All 256 grey levels, as a data set gives them: uint8 divided by 255 in float32."""
    return (torch.arange(8 * 3 * 32 * 32) % 256).to(torch.uint8).view(SHAPE)


def steps_of(sigma):
    """The integers m that the draw gives, computed with numpy from its float64 normals."""
    normals = draw("copy", 0).normal(SHAPE, torch.float64).numpy()
    return np.rint(255 * float(np.float32(sigma)) * normals).astype(np.int64)


@pytest.mark.parametrize("sigma", [0.1, 0.25, 1.0])
def test_every_value_is_the_float32_nearest_to_a_multiple_of_one_255th(sigma):
    bytes_ = pictures()
    noisy = QuantisedGaussian(sigma)(bytes_.float() / 255, draw()).images
    total = bytes_.numpy().astype(np.int64) + steps_of(sigma)
    assert noisy.dtype == torch.float32
    assert np.array_equal(noisy.numpy(), total.astype(np.float32) / np.float32(255))


def test_the_sum_of_integers_leaves_no_trace_of_the_image():
    """The same noise on two images gives values of one table; a sum of floats does not."""
    table = (torch.arange(-2000, 2300).float() / torch.tensor(255.0)).double()
    noisy = [QuantisedGaussian(0.5)(torch.full(SHAPE, level / 255), draw()).images for level in (0, 4, 200)]
    places = [(255 * images.double()).round().long() for images in noisy]
    assert torch.equal(places[0] + 4, places[1])
    assert torch.equal(places[0] + 200, places[2])
    assert all(torch.equal(images.double(), table[place + 2000]) for images, place in zip(noisy, places, strict=True))
    sum_of_floats = torch.full(SHAPE, 4 / 255) + noisy[0]
    assert not torch.equal(sum_of_floats, noisy[1])


def test_a_division_that_is_a_multiplication_by_the_reciprocal_gives_the_same_values():
    """Some devices divide by a constant that way; in float64 it is below what float32 can tell."""
    total = torch.arange(-(2**20), 2**20, dtype=torch.float64)
    assert torch.equal((total * (1 / 255)).float(), (total / 255).float())
    assert np.array_equal((total / 255).float().numpy(), total.numpy().astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("steps", [0.8, 2.0, 127.5], ids=lambda steps: f"{steps} steps")
def test_the_steps_have_the_law_of_a_rounded_normal(steps):
    images = torch.full((4, 3, 128, 128), 100 / 255)
    m = (255 * QuantisedGaussian(steps / 255)(images, draw()).images.double()).round().numpy().ravel() - 100
    variance = steps**2 + 1 / 12  # Sheppard's correction
    assert abs(m.mean()) < 4 * (variance / m.size) ** 0.5
    assert m.var() == pytest.approx(variance, rel=4 * (2 / m.size) ** 0.5)
    reach = int(3 * steps) + 1
    edges = np.concatenate([[-np.inf], np.arange(-reach, reach) + 0.5, [np.inf]])
    expected = m.size * np.diff(stats.norm.cdf(edges / steps))
    observed = np.histogram(np.clip(m, -reach, reach), np.arange(-reach - 0.5, reach + 1))[0]
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_the_gradient_is_that_of_the_identity():
    images = (pictures().float() / 255).requires_grad_()
    noisy = QuantisedGaussian(0.5)(images, draw()).images
    weights = draw("weights").normal(SHAPE)
    (gradient,) = torch.autograd.grad((weights * noisy).sum(), images)
    assert torch.equal(gradient, weights)
    assert torch.equal(noisy, QuantisedGaussian(0.5)(images.detach(), draw()).images)


def test_images_between_the_steps_are_rounded():
    images = draw("images").uniform(SHAPE)
    rounded = (255 * images).round() / 255
    assert torch.equal(QuantisedGaussian(0.0)(images, draw()).images, rounded)
    assert torch.equal(QuantisedGaussian(0.3)(images, draw()).images, QuantisedGaussian(0.3)(rounded, draw()).images)


def test_eight_bit_images_can_be_certified():
    noise = QuantisedGaussian(0.25)
    for image in pictures():
        noise.check(image.float() / 255)
        noise.check(image.float() * (1 / 255))
        noise.check(image.double() / 255)
    noise.check(torch.full((3, 4, 4), 100.0009 / 255))


@pytest.mark.parametrize("value", [100.0011, 100.5, 99.99, float("nan")])
def test_others_cannot_and_are_told_where_and_what_to_do(value):
    image = torch.zeros(3, 4, 5)
    image[1, 2, 3] = value / 255
    with pytest.raises(
        UserError, match=f"channel 1 of the pixel in row 2, column 3 is {value:.4f}/255: round images to uint8"
    ) as error:
        QuantisedGaussian(0.25).check(image)
    assert "\n" not in str(error.value)
