"""Gaussian noise rounded to steps of 8-bit images; its certificate also holds in floating-point arithmetic."""

from typing import Any

import torch
from torch import Tensor

from dmaelab.corruptions.base import Corruption
from dmaelab.corruptions.build import CORRUPTIONS
from dmaelab.stats.geometry import QuantisedGaussianL2
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import ArrayDraw

LEVELS = 255
"""Number of steps from black to white. All images and noises are multiples of one step, 1/255."""

# Tolerance in steps. Float32 stores k/255 with an error of 2e-5 steps; a larger error means no 8-bit image.
_OFF_GRID = 1e-3


@CORRUPTIONS.register("quantised_gaussian")
class QuantisedGaussian(Corruption):
    """Gaussian noise rounded to multiples of 1/255: certifies l2 balls, also in floating point.

    The method is due to Voracek and Hein (2023). If x + eta is computed in floating point, the grid on which the sum
    lies depends on x, so a classifier can recover x from the low-order bits. Here the image is the integer k = 255 x,
    the noise is the integer m = round(255 eta), and the classifier sees a fixed function of the integer k + m.

    The guarantee: let Q(y) = round(255 y) / 255 and g(x') = argmax_c P(f(Q(x' + eta)) = c), where x' + eta is computed
    in exact real arithmetic. Since k is an integer, round(255 (x + eta)) = k + round(255 eta). The votes at an 8-bit x
    are therefore votes of g, and g is constant for all real x' in the open certified ball. The conditions are:

    * x is an 8-bit image, that is, ``255 x`` consists of integers. If x was rounded from an image at distance d, a ball
      of radius R - d around that image is certified.
    * For an 8-bit x', this code evaluates g(x'). For other x', g(x') is defined as above. Rounding x' before the noise
      is added, as :meth:`apply` does in training, gives another classifier, which has no certificate.
    * The ball is around the image to which the noise is added. If images are resized before, the certificate is about
      changes of the resized image. Resizing inside the classifier does not matter.
    * The sampled m differs from the exact one by at most the ``tau`` of the geometry in total variation. Certification
      subtracts it from every bound. Two assumptions remain: the random bits are perfect, and f treats each row
      independently of the others.
    """

    geometry = QuantisedGaussianL2()
    steps = LEVELS
    stackable = True

    def apply(self, images: Tensor, sigma: Tensor, draw: ArrayDraw) -> Tensor:
        """Return ``(k + m) / 255`` with k = round(255 images) and m = round(255 sigma N(0, 1)).

        The gradient is that of the identity (straight-through). The normal numbers are float64 from 53-bit words,
        because with fewer bits the rounding error would change the distribution of m too much.
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
                f" {column} is {LEVELS * value:.4f}/255: round images to uint8 after any resizing, or certify with"
                " gaussian"
            )


class _AddSteps(torch.autograd.Function):
    """Add whole steps of noise to images; backward passes the gradient straight through to the images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, steps: Tensor) -> Tensor:
        # Add the integers before the division: k/255 + m/255 in floating point would reveal k in the low-order bits.
        # Float64 stores the integers exactly, and the quotient rounds to the float32 nearest to j/255 on any device:
        # the binary digits of j/255 have period 8, so j/255 is never close to the middle between two float32 numbers.
        total = torch.round(LEVELS * images) + steps
        return (total / LEVELS).to(images.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
