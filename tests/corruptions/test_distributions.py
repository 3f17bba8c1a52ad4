"""The laws of the noises: each on 200,000 pixels against scipy. Quantised noise has a file of its own."""

import math

import pytest
import torch
from scipy import stats

from dmaelab.corruptions import Gaussian, Laplace, Uniform
from dmaelab.corruptions.laplace import _standard_laplace
from dmaelab.utils.random import Draw

SIGMA = 0.25
KINDS = [Gaussian, Laplace, Uniform]


def noise(corruption):
    images = torch.full((4, 3, 128, 128), 0.5)
    return (corruption(images, Draw(0, "train", "law")).images - images).double().flatten()


@pytest.mark.parametrize("kind", KINDS)
def test_sigma_is_the_standard_deviation(kind):
    x = noise(kind(SIGMA))
    assert abs(x.mean()) < 4 * SIGMA / len(x) ** 0.5
    assert abs(x.std() / SIGMA - 1) < 4 * ((stats.kurtosis(x, fisher=False) - 1) / (4 * len(x))) ** 0.5


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


def test_laplace():
    x = noise(Laplace(SIGMA)).numpy() / (SIGMA / math.sqrt(2))
    assert stats.kstest(x, "laplace").pvalue > 1e-3
    assert stats.kstest(abs(x), "expon").pvalue > 1e-3
    assert 10 < abs(x).max() < 20
    assert (
        abs(stats.spearmanr(x > 0, abs(x)).statistic) < 4 / len(x) ** 0.5
    )  # the sign says nothing about the magnitude
    assert Laplace(SIGMA).geometry.norm == "l1"


def test_every_word_is_a_finite_laplace_number():
    numbers = _standard_laplace(torch.tensor([0, -1, 2**63 - 1, -(2**63), 2**39]))
    torch.testing.assert_close(numbers, torch.tensor([41 * math.log(2), 0, 0, -41 * math.log(2), math.log(2)]))


def test_nothing_is_clamped():
    for kind in KINDS:
        noisy = kind(0.5)(torch.full((1, 3, 32, 32), 0.5), Draw(0, "train")).images
        assert noisy.min() < 0
        assert noisy.max() > 1


def test_noise_is_added_whatever_the_pixel():
    draw = Draw(0, "train")
    dark, light = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    for kind in KINDS:
        torch.testing.assert_close(kind(0.3)(dark, draw).images + 1, kind(0.3)(light, draw).images)
