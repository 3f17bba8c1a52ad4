"""Speckle: noise that grows with the signal."""

from torch import Tensor

from dmaelab.corruptions import CORRUPTIONS, Corruption
from dmaelab.utils.random import ArrayDraw


@CORRUPTIONS.register("speckle")
class Speckle(Corruption):
    """Multiplicative Gaussian noise, as in radar and ultrasound images: for training, certifies nothing.

    ``sigma`` is the standard deviation at a white pixel, in [0,1] pixel units; a pixel of value x gets
    x times that. A black pixel gets none: move it by the least bit, and the noisy images are told apart
    with certainty. So no radius follows, ``geometry`` stays None, and certification refuses this noise.
    """

    def apply(self, images: Tensor, sigma: Tensor, draw: ArrayDraw) -> Tensor:
        """Return ``images * (1 + sigma * N(0, 1))`` (the mode "speckle" of scikit-image's random_noise)."""
        return images * (1 + sigma.view(-1, 1, 1, 1) * draw.normal(images.shape))
