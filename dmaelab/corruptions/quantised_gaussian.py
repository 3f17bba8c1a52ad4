"""Gaussian noise in whole steps of an 8-bit image: a certificate that floating point cannot break."""

from typing import Any

import torch
from torch import Tensor

from dmaelab.corruptions.build import CORRUPTIONS, Corruption
from dmaelab.stats.geometry import QuantisedGaussianL2
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

LEVELS = 255
"""Steps from black to white; all images and noises are whole numbers of them."""

# In steps. Float32 keeps k/255 to 2e-5 of a step; whatever lies farther off was not an 8-bit image.
_OFF_GRID = 1e-3


@CORRUPTIONS.register("quantised_gaussian")
class QuantisedGaussian(Corruption):
    """Gaussian noise rounded to multiples of 1/255: certifies l2 balls, in floating point too (Voracek and Hein, 2023).

    A float sum x + eta lies on a grid that depends on x, and a classifier can read x off its low-order
    bits. Here the image is the integer k = 255 x, the noise the integer m = round(255 eta), and the
    classifier sees a fixed function of the integer k + m.

    The guarantee. Let Q(y) = round(255 y) / 255 and g(x') = argmax_c P(f(Q(x' + eta)) = c), with exact
    real arithmetic in x' + eta. As k is whole, round(255 (x + eta)) = k + round(255 eta), so the votes at an
    8-bit x are votes of g, and g is constant on the open certified ball, for all real x' in it. The
    conditions:

    * x is an 8-bit image, ``255 x`` whole. One that was rounded to it from an image at distance d keeps a
      ball of radius R - d around that one.
    * For an 8-bit x', this code evaluates g(x') itself. For an x' off the grid, g(x') is as above; rounding
      x' first, as :meth:`apply` does with what it is given in training, is another classifier and has no
      certificate.
    * The ball lies where the noise is added. Resizing an image before moves the threat model to the
      resized images; resizing inside the classifier does not.
    * The sampled m differs from the ideal one by the geometry's ``tau``, which certification takes off every
      bound. Two idealisations stay: the random bits, and that f treats each row by itself.
    """

    geometry = QuantisedGaussianL2()
    steps = LEVELS

    def apply(self, images: Tensor, sigma: Tensor, draw: Draw) -> Tensor:
        """Return ``(k + m) / 255`` with k = round(255 images) and m = round(255 sigma N(0, 1)); the gradient is that of
        the identity.

        The normal numbers are float64 from 53-bit words: with fewer bits the rounding would show in
        the distribution of m.
        """
        steps = torch.round(LEVELS * sigma.double().view(-1, 1, 1, 1) * draw.normal(images.shape, torch.float64))
        return _AddSteps.apply(images, steps)

    def check(self, image: Tensor) -> None:
        """Raise ``UserError`` if ``image`` [C,H,W], in [0,1], is not an 8-bit image."""
        steps = LEVELS * image
        distance = (steps - steps.round()).abs()
        if not distance.max() < _OFF_GRID:
            channel, row, column = (int(place) for place in torch.unravel_index(distance.argmax(), image.shape))
            value = float(image[channel, row, column])
            raise UserError(
                f"quantised_gaussian certifies 8-bit images, but channel {channel} of the pixel in row {row}, column"
                f" {column} is"
                f" {LEVELS * value:.4f}/255: round images to uint8 after any resizing, or certify with gaussian"
            )


class _AddSteps(torch.autograd.Function):
    """Add whole steps of noise to images; backward passes the gradient straight through to the images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, steps: Tensor) -> Tensor:
        # The integers are added before anything is divided: k/255 + m/255 in floats would leave a trace of k.
        # Float64 holds them exactly, and its quotient rounds to the float32 nearest to j/255 on any device:
        # the bits of j/255 repeat with period 8, so none lies near the middle of two floats.
        total = torch.round(LEVELS * images) + steps
        return (total / LEVELS).to(images.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
