"""Laplace noise, which certifies l1 balls."""

import math

import torch
from torch import Tensor

from dmaelab.corruptions.base import Corruption
from dmaelab.corruptions.build import CORRUPTIONS
from dmaelab.stats.geometry import LaplaceL1
from dmaelab.utils.random import ArrayDraw

# Of each 64-bit word, 40 bits give the magnitude (at most 28 lam) and one more gives the sign.
_MAGNITUDE_BITS = 40


@CORRUPTIONS.register("laplace")
class Laplace(Corruption):
    """Laplace noise of standard deviation sigma in every pixel: certifies l1 balls (Teng et al., 2020)."""

    geometry = LaplaceL1()
    stackable = True

    def apply(self, images: Tensor, sigma: Tensor, draw: ArrayDraw) -> Tensor:
        """Return ``images`` plus noise of density ``exp(-|x|/lam) / (2 lam)``, lam = sigma / sqrt(2)."""
        scale = sigma.view(-1, 1, 1, 1) / math.sqrt(2)
        return images + scale * _standard_laplace(draw.bits(images.numel())).view(images.shape)


def _standard_laplace(words: Tensor) -> Tensor:
    """Turn 64-bit words [N] into float32 Laplace numbers of scale 1 by inverting the distribution function."""
    fraction = ((words & (2**_MAGNITUDE_BITS - 1)).to(torch.float32) + 0.5) * 2.0**-_MAGNITUDE_BITS  # never 0
    magnitude = -torch.log(fraction)
    return torch.where(words < 0, -magnitude, magnitude)
