"""Uniform noise, which certifies l1 balls."""

import math

from torch import Tensor

from dmaelab.corruptions.base import Corruption
from dmaelab.corruptions.build import CORRUPTIONS
from dmaelab.stats.geometry import UniformL1
from dmaelab.utils.random import ArrayDraw


@CORRUPTIONS.register("uniform")
class Uniform(Corruption):
    """Uniform noise of standard deviation sigma in every pixel: certifies l1 balls (Yang et al., 2020)."""

    geometry = UniformL1()
    stackable = True

    def apply(self, images: Tensor, sigma: Tensor, draw: ArrayDraw) -> Tensor:
        """Return ``images + U(-sqrt(3) sigma, sqrt(3) sigma)``."""
        half_width = math.sqrt(3) * sigma.view(-1, 1, 1, 1)
        return images + half_width * (2 * draw.uniform(images.shape) - 1)
