"""Isotropic Gaussian noise, the corruption of the paper."""

from torch import Tensor

from dmaelab.corruptions.base import Corruption
from dmaelab.corruptions.build import CORRUPTIONS
from dmaelab.stats.geometry import GaussianL2
from dmaelab.utils.random import ArrayDraw


@CORRUPTIONS.register("gaussian")
class Gaussian(Corruption):
    """Gaussian noise with the same variance in every pixel: certifies l2 balls (Cohen et al., 2019)."""

    geometry = GaussianL2()
    stackable = True

    def apply(self, images: Tensor, sigma: Tensor, draw: ArrayDraw) -> Tensor:
        """Return ``images + sigma * N(0, 1)`` (DMAE paper, Section 3.2: x + eta)."""
        return images + sigma.view(-1, 1, 1, 1) * draw.normal(images.shape)
