"""The interface of corruptions: the noise, and the geometry of the certificate that it gives."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dmaelab.registry import Registry, builder
from dmaelab.stats.geometry import Geometry
from dmaelab.utils.arguments import KeepsArguments, plain
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

CORRUPTIONS = Registry("corruption")
build_corruption = builder(CORRUPTIONS)
build_corruption.__module__ = __name__


class Corrupted(NamedTuple):
    """What a corruption returns."""

    images: Tensor  # [copies*N, C, H, W], copy-major, not clamped
    sigma: Tensor  # [copies*N], the level that each row got


class Corruption(KeepsArguments):
    """Noise on images in [0,1] pixel units, at their native size, before any normalisation.

    A plug-in subclasses this, writes :meth:`apply` and, if it can be certified, sets ``geometry``. The arguments of
    its constructor go into the header of a log, as for :class:`~dmaelab.certifiers.build.Certifier`.

    Args:
        sigma: level of the noise in [0,1] pixel units; a pair ``(low, high)`` draws one value
            per image, uniformly.

    Raises:
        UserError: for a negative or non-finite level, or a pair that is not ascending.
    """

    geometry: Geometry | None = None
    steps: int | None = None
    """Images must be whole multiples of 1/steps to be certified; None takes any."""

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

    def options(self) -> dict[str, Any]:
        """Return the arguments of the constructor as the header of a log holds them."""
        return super().options() | {"sigma": plain(self.sigma)}

    def __call__(self, images: Tensor, draw: Draw, copies: int = 1) -> Corrupted:
        """Corrupt ``images`` [N,C,H,W] ``copies`` times; the copies of an image share its sigma.

        Copy c draws from ``draw.child("copy", c)``, so that one copy equals copy 0 of many.
        """
        sigma = self.levels(len(images), draw)
        rows = [self.apply(images, sigma, draw.child("copy", copy)) for copy in range(copies)]
        if copies == 1:
            return Corrupted(rows[0], sigma)
        return Corrupted(torch.cat(rows), sigma.repeat(copies))

    def levels(self, count: int, draw: Draw) -> Tensor:
        """Return the level of each of ``count`` images, float32 ``[count]``."""
        if isinstance(self.sigma, tuple):
            low, high = self.sigma
            return low + (high - low) * draw.child("sigma").uniform((count,))
        return torch.full((count,), self.sigma, device=draw.device)

    def apply(self, images: Tensor, sigma: Tensor, draw: Draw) -> Tensor:
        """Return one corrupted copy of ``images`` [N,C,H,W] with the levels ``sigma`` [N]; no clamp.

        Must be differentiable in ``images`` and use no randomness but ``draw``'s. A row depends neither on the other
        rows nor on how many there are: certification makes a few rows at once on a CPU, and many on a GPU.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(images, sigma, draw)")

    def check(self, image: Tensor) -> None:
        """Check one image [C,H,W] that is to be certified, on the host; raise UserError if it cannot be."""
