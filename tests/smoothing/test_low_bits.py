"""A classifier that reads the image off the low-order bits of the noisy sum, and the noise that stops it.

Two images, black and black with 4/255, lie 0.502 apart. A float sum x + eta lies on a grid that grows
with x, so one of them has values between the multiples of 2^-30 and the other has none.
"""

import pytest
import torch
from scipy import stats
from torch import nn

from dmaelab.corruptions import QuantisedGaussian
from dmaelab.smoothing import SmoothedClassifier
from dmaelab.utils.errors import UserError

SIGMA = 0.5
DARK, LIGHT = torch.zeros(1, 32, 32), torch.full((1, 32, 32), 4 / 255)
DISTANCE = float((LIGHT - DARK).norm())
N0, N, ALPHA, BATCH = 50, 2000, 0.001, 500


class Detector(nn.Module):
    """Class 0 where a value of the input is not what it is compared with, exactly, and 1 where all are."""

    def forward(self, images):
        found = (images != self.nearest(images)).flatten(1).any(1).float()
        return torch.stack([found, 1 - found], dim=1)


class OffTheBinaryGrid(Detector):
    """Compares with the nearest multiple of 2^-30: scaling by it is exact, and so is rounding."""

    def nearest(self, images):
        return torch.round(images * 2.0**30) * 2.0**-30


class OffTheTable(Detector):
    """Compares with the float32 nearest to a multiple of 1/255, what an input made of whole steps must be."""

    def nearest(self, images):
        return (torch.round(255 * images.double()) / 255).float()


class SumOfFloats(QuantisedGaussian):
    """Quantised noise done wrong: m/255 is added to k/255 as floats."""

    def apply(self, images, sigma, draw):
        return images + super().apply(torch.zeros_like(images), sigma, draw)


def certify(detector, corruption):
    """Return the certificates of the two images."""
    smoothed = SmoothedClassifier(detector, 2, SIGMA)
    smoothed.corruption = corruption  # as an object, for the wrong one has no name
    return [smoothed.certify(image, N0, N, ALPHA, BATCH, index=index) for index, image in enumerate([DARK, LIGHT])]


def contradict(dark, light):
    """Return whether the certificate of one image covers the other, which is answered differently."""
    certified = [
        certificate.prediction for certificate in (dark, light) if certificate.prediction != SmoothedClassifier.ABSTAIN
    ]
    return len(set(certified)) == 2 and max(dark.radius, light.radius) > DISTANCE


def test_gaussian_noise_gives_a_false_certificate():
    smoothed = SmoothedClassifier(OffTheBinaryGrid(), 2, SIGMA, corruption="gaussian")
    dark = smoothed.certify(DARK, N0, N, ALPHA, BATCH, index=0)
    assert dark.prediction == 0
    assert dark.radius > 2 * DISTANCE > 1
    assert smoothed.predict(LIGHT, N, ALPHA, BATCH, index=1) == 1
    light = smoothed.certify(LIGHT, N0, N, ALPHA, BATCH, index=1)
    assert (light.count_a, light.count_b) == (N, 0)
    assert contradict(dark, light)


@pytest.mark.parametrize("detector", [OffTheBinaryGrid(), OffTheTable()], ids=lambda detector: type(detector).__name__)
def test_quantised_noise_gives_none(detector):
    dark, light = certify(detector, QuantisedGaussian(SIGMA))
    assert dark.prediction == light.prediction != SmoothedClassifier.ABSTAIN
    assert dark.radius > DISTANCE  # a certificate, and a true one
    assert not contradict(dark, light)


def test_low_bits_of_quantised_noise_are_there_and_the_same_for_both_images():
    one_step = 2 * (stats.norm.cdf(1.5, scale=255 * SIGMA) - stats.norm.cdf(0.5, scale=255 * SIGMA))
    expected = 1 - (1 - one_step) ** DARK.numel()  # 1/255 and -1/255, and no others, lie between multiples of 2^-30
    for certificate in certify(OffTheBinaryGrid(), QuantisedGaussian(SIGMA)):
        assert certificate.count_a / N == pytest.approx(expected, abs=4 * (expected * (1 - expected) / N) ** 0.5)


def test_adding_steps_as_floats_opens_the_hole_again():
    dark, light = certify(OffTheTable(), SumOfFloats(SIGMA))
    assert (dark.prediction, light.prediction) == (1, 0)
    assert dark.count_a == light.count_a == N
    assert dark.radius > 2 * DISTANCE
    assert contradict(dark, light)


def test_the_certificate_pays_for_the_sampling_of_quantised_noise():
    for certificate in certify(OffTheTable(), QuantisedGaussian(SIGMA)):
        assert certificate.radius == pytest.approx(SIGMA * stats.norm.ppf(certificate.p_lower - 1e-6), rel=1e-9)


def test_an_image_that_is_not_8_bit_is_refused():
    smoothed = SmoothedClassifier(OffTheTable(), 2, SIGMA, corruption="quantised_gaussian")
    with pytest.raises(UserError, match="certifies 8-bit images"):
        smoothed.certify(DARK + 0.001, N0, N, ALPHA, BATCH)
