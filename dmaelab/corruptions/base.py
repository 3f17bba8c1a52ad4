"""The base class of corruptions. A corruption adds noise to images and names the geometry of its certificate."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmaelab.stats.geometry import Geometry
from dmaelab.utils.arguments import KeepsArguments
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import ArrayDraw, Draw


class Corrupted(NamedTuple):
    """The result of a corruption."""

    images: Tensor  # [copies*N, C, H, W], not clamped; copy 0 of all images, then copy 1 of all images, ...
    sigma: Tensor  # float32 [copies*N], sigma of each row


class Corruption(KeepsArguments):
    """Noise on images in [0,1] pixel units, at the size of the data set, before any normalisation.

    A plug-in subclasses this and implements :meth:`apply`. If the noise gives a certificate, it also sets ``geometry``.
    The arguments of the constructor are written to the header of a log, as for
    :class:`~dmaelab.certifiers.base.Certifier`.

    Args:
        sigma: standard deviation of the noise in [0,1] pixel units. For a pair ``(low, high)`` one value per image is
            drawn from the uniform distribution on this range.

    Raises:
        UserError: sigma is negative or not finite, or a pair is not in ascending order.
    """

    geometry: Geometry | None = None
    """The certificate of the noise; None if there is none."""
    steps: int | None = None
    """If set, pixel values must be multiples of 1/steps to be certified."""
    stackable: bool = False
    """Whether :meth:`apply` asks ``draw``, or a child of it, only for arrays of the shape of the images or with one
    number per image. A certification on a GPU then makes several chunks of noise at once, which is faster. The class
    that defines :meth:`apply` must say so itself; it does not inherit the answer."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        source = next(base for base in cls.__mro__ if "apply" in vars(base))
        if "stackable" not in vars(cls) and "stackable" not in vars(source):
            cls.stackable = False

    def __init__(self, sigma: float | tuple[float, float]) -> None:
        levels = tuple(sigma) if isinstance(sigma, (tuple, list)) else (sigma,)
        if (
            len(levels) not in (1, 2)
            or not all(0 <= level < float("inf") for level in levels)
            or list(levels) != sorted(levels)
        ):
            raise UserError(
                f"corruption.sigma is {sigma}: give one number >= 0 or an ascending pair, in [0,1] pixel units"
            )
        self.sigma: float | tuple[float, float] = (
            (float(levels[0]), float(levels[1])) if len(levels) == 2 else float(levels[0])
        )

    def __call__(self, images: Tensor, draw: Draw, copies: int = 1) -> Corrupted:
        """Return ``copies`` noisy copies of ``images`` [N,C,H,W]; the copies of an image have the same sigma.

        Copy c uses ``draw.child("copy", c)``, so that its noise does not depend on the number of copies.
        """
        sigma = self.levels(len(images), draw)
        rows = [self.apply(images, sigma, draw.child("copy", copy)) for copy in range(copies)]
        if copies == 1:
            return Corrupted(rows[0], sigma)
        return Corrupted(torch.cat(rows), sigma.repeat(copies))

    def levels(self, count: int, draw: Draw) -> Tensor:
        """Return sigma for each of ``count`` images, float32 ``[count]``."""
        if isinstance(self.sigma, tuple):
            low, high = self.sigma
            return low + (high - low) * draw.child("sigma").uniform((count,))
        return torch.full((count,), self.sigma, device=draw.device)

    def apply(self, images: Tensor, sigma: Tensor, draw: ArrayDraw) -> Tensor:
        """Return one noisy copy of ``images`` [N,C,H,W] with standard deviations ``sigma`` [N], not clamped.

        The result must be differentiable in ``images``, and all random numbers must come from ``draw``. A row must not
        depend on other rows or on their number, because certification computes few rows at once on a CPU and many on a
        GPU.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(images, sigma, draw)")

    def check(self, image: Tensor) -> None:
        """Raise ``UserError`` if the image [C,H,W] on the host cannot be certified with this noise."""
