"""The laws of the noises: each on 200,000 pixels against scipy."""

import math

import pytest
import torch
from scipy import stats

from dmaelab.corruptions import Gaussian, Uniform
from dmaelab.utils.random import Draw

SIGMA = 0.25


def noise(corruption):
    images = torch.full((4, 3, 128, 128), 0.5)
    return (corruption(images, Draw(0, "train", "law")).images - images).double().flatten()


@pytest.mark.parametrize("kind", [Gaussian, Uniform])
def test_sigma_is_the_standard_deviation(kind):
    x = noise(kind(SIGMA))
    assert abs(x.mean()) < 4 * SIGMA / len(x) ** 0.5
    assert abs(x.std() / SIGMA - 1) < 4 / (2 * len(x)) ** 0.5


def test_gaussian():
    assert stats.kstest(noise(Gaussian(SIGMA)).numpy() / SIGMA, "norm").pvalue > 1e-3
    assert Gaussian(SIGMA).geometry.norm == "l2"


def test_uniform():
    half_width = math.sqrt(3) * SIGMA
    x = noise(Uniform(SIGMA)).numpy()
    assert stats.kstest(x, "uniform", (-half_width, 2 * half_width)).pvalue > 1e-3
    assert abs(x).max() <= half_width + 1e-6
    assert abs(x).max() > 0.999 * half_width
    assert Uniform(SIGMA).geometry.norm == "l1"


def test_nothing_is_clamped():
    for kind in (Gaussian, Uniform):
        noisy = kind(0.5)(torch.full((1, 3, 32, 32), 0.5), Draw(0, "train")).images
        assert noisy.min() < 0
        assert noisy.max() > 1


def test_noise_is_added_whatever_the_pixel():
    draw = Draw(0, "train")
    dark, light = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    for kind in (Gaussian, Uniform):
        torch.testing.assert_close(kind(0.3)(dark, draw).images + 1, kind(0.3)(light, draw).images)
