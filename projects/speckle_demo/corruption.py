"""Speckle: noise that grows with the signal."""

from torch import Tensor

from dmaelab.corruptions import CORRUPTIONS, Corruption
from dmaelab.utils.random import ArrayDraw


@CORRUPTIONS.register("speckle")
class Speckle(Corruption):
    """Multiplicative Gaussian noise, as in radar and ultrasound images, for training only.

    ``sigma`` is the standard deviation at a white pixel, in [0,1] pixel units. At a pixel of value x it
    is x times sigma, so a black pixel gets no noise. A classifier can tell a black pixel from an almost
    black one with certainty. So this noise certifies no radius: ``geometry`` stays None, and
    certification refuses it.
    """

    def apply(self, images: Tensor, sigma: Tensor, draw: ArrayDraw) -> Tensor:
        """Return ``images * (1 + sigma * N(0, 1))``, the mode "speckle" of scikit-image's random_noise."""
        return images * (1 + sigma.view(-1, 1, 1, 1) * draw.normal(images.shape))
