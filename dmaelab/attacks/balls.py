"""The open balls that an attack searches: how it climbs in them, and how it stays inside."""

import torch
from torch import Tensor, nn

from dmaelab.utils.errors import UserError

NORMS = ("l2", "l1")
"""The norms of balls that can be searched."""

_MARGIN = 1e-6  # part of a radius that is left out: certified balls are open


class Balls:
    """The images in B open balls, as offsets float64 [B,D] from their centres, D = C H W.

    Args:
        images: float32 [B,C,H,W] in [0,1], the centres.
        radii: float64 [B] > 0, [0,1] pixel units.
        norm: of the balls, one of :data:`NORMS`.
        steps: if given, only images that are whole multiples of 1/steps are of interest, 255 for 8-bit images; then the
            centres are such images, too. None takes any image.

    Attributes:
        centres: float64 [B,D].

    Raises:
        UserError: another norm.
    """

    def __init__(self, images: Tensor, radii: Tensor, norm: str, steps: int | None = None) -> None:
        if norm not in NORMS:
            raise UserError(f"there is no search in balls in {norm}: the attack knows {' and '.join(NORMS)}")
        self.norm, self.radii = norm, radii.view(-1, 1)
        self._steps = steps
        self._shape, self.centres = images.shape, self._exact(images)

    def at(self, shares: Tensor) -> Tensor:
        """Return offsets of ``shares`` float64 [B,D] times the radii, cut as :meth:`cut` does; 0 is the centre."""
        return self.cut(self.radii * shares)

    def cut(self, offsets: Tensor) -> Tensor:
        """Return the offsets projected onto the balls less a margin, then cut where a value would leave [0,1]."""
        limits = self.radii * (1 - _MARGIN)
        projected = project_l1(offsets, limits) if self.norm == "l1" else project_l2(offsets, limits)
        return (self.centres + projected).clamp(0, 1) - self.centres

    def climb(self, offsets: Tensor, gradients: Tensor, share: float) -> Tensor:
        """Return the offsets after a step of ``share`` radii in the direction that is steepest in the norm.

        Values that are 0 or 1 already and would leave [0,1] have no part in it. In l1 the steepest direction
        is the one value with the largest derivative. Without a gradient an offset stays.
        """
        values = self.centres + offsets
        free = torch.where(gradients > 0, values < 1, values > 0)
        gradients = gradients * free
        if self.norm == "l1":
            largest = gradients.abs().argmax(1, keepdim=True)
            direction = torch.zeros_like(gradients).scatter(1, largest, gradients.gather(1, largest).sign())
        else:
            direction = nn.functional.normalize(gradients, eps=1e-300)
        return self.cut(offsets + share * self.radii * direction)

    def images(self, offsets: Tensor) -> Tensor:
        """Return images float32 [B,C,H,W], rounded towards the centres: no value is farther away than its offset."""
        if self._steps:
            steps = self._steps * self.centres
            values = (steps + torch.trunc(self._steps * offsets)).round() / self._steps
            return values.float().view(self._shape)
        values = (self.centres + offsets).float()
        grown = (values.double() - self.centres).abs() > offsets.abs()
        return torch.where(grown, values.nextafter(self.centres.float()), values).view(self._shape)

    def distances(self, images: Tensor) -> Tensor:
        """Return the distances float64 [B] of images [B,C,H,W] from the centres."""
        return self.length(self._exact(images) - self.centres)

    def length(self, offsets: Tensor) -> Tensor:
        """Return the length of offsets [...,D] in the norm of the balls, [...]."""
        return torch.linalg.vector_norm(offsets, ord=1 if self.norm == "l1" else 2, dim=-1)

    def _exact(self, images: Tensor) -> Tensor:
        """Return images as float64 [B,D]; float32 holds k/255 to about 3e-8 only."""
        values = images.detach().double().flatten(1)
        return (self._steps * values).round() / self._steps if self._steps else values


def project_l2(offsets: Tensor, limits: Tensor) -> Tensor:
    """Return the nearest points [B,D] to ``offsets`` [B,D] with an l2 norm of at most ``limits`` [B,1]."""
    return offsets * (limits / offsets.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp(max=1)


def project_l1(offsets: Tensor, limits: Tensor) -> Tensor:
    """Return the nearest points [B,D] to ``offsets`` [B,D] with an l1 norm of at most ``limits`` [B,1] > 0.

    All sizes shrink by the same amount, down to 0; sorting gives the amount (Duchi et al., 2008, Figure 1).
    """
    sizes = offsets.abs()
    ordered = sizes.sort(dim=1, descending=True).values
    amounts = (ordered.cumsum(1) - limits) / torch.arange(1, sizes.shape[1] + 1, device=sizes.device)
    kept = (ordered > amounts).sum(1, keepdim=True)
    amount = amounts.gather(1, kept - 1).clamp(min=0)
    return offsets.sign() * (sizes - amount).clamp(min=0)
