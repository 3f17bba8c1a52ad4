"""The open balls that an attack searches: where it begins, how it climbs, and how it stays inside."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmaelab.corruptions import Corruption
from dmaelab.smoothing.noise import AttackAddress, smoothing_noise
from dmaelab.utils.errors import UserError

NORMS = ("l2", "l1")
"""The norms of balls that can be searched."""

_MARGIN = 1e-6  # part of a radius that is left out: certified balls are open


class Balls:
    """The images in B open balls, as offsets float64 [B,D] from their centres.

    Args:
        images: float32 [B,C,H,W] in [0,1], the centres.
        radii: float64 [B].
        corruption: of the certificates: gives the norm, and whether only 8-bit images count.
    """

    def __init__(self, images: Tensor, radii: Tensor, corruption: Corruption) -> None:
        self.norm = smoothing_noise(corruption)[0].norm
        if self.norm not in NORMS:
            raise UserError(f"the certificates are for balls in {self.norm}: the attack knows {' and '.join(NORMS)}")
        self.radii = radii.view(-1, 1)
        self._steps = corruption.steps
        self._shape, self._centres = images.shape, self._exact(images)

    def start(self, addresses: Sequence[AttackAddress]) -> Tensor:
        """Return where attempts begin: 0 for restart 0, else a uniform share of the radius in a random direction."""
        offsets = torch.zeros_like(self._centres)
        for row, address in enumerate(addresses):
            if address.restart:
                offsets[row] = address.draw("start", 0, offsets.device).normal(offsets[row].shape)
                offsets[row] *= address.draw("length", 0, offsets.device).uniform((1,)) / self._length(offsets[row])
        return self.cut(self.radii * offsets)

    def cut(self, offsets: Tensor) -> Tensor:
        """Return the offsets projected onto the balls less a margin, then cut where a value would leave [0,1]."""
        limits = self.radii * (1 - _MARGIN)
        projected = project_l1(offsets, limits) if self.norm == "l1" else project_l2(offsets, limits)
        return (self._centres + projected).clamp(0, 1) - self._centres

    def climb(self, offsets: Tensor, gradients: Tensor, share: float) -> Tensor:
        """Return the offsets after a step of ``share`` radii in the direction that is steepest in the norm.

        Values that are 0 or 1 already and would leave [0,1] have no part in it. In l1 the steepest direction
        is the one value with the largest derivative.
        """
        values = self._centres + offsets
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
            steps = self._steps * self._centres
            values = (steps + torch.trunc(self._steps * offsets)).round() / self._steps
            return values.float().view(self._shape)
        values = (self._centres + offsets).float()
        grown = (values.double() - self._centres).abs() > offsets.abs()
        return torch.where(grown, values.nextafter(self._centres.float()), values).view(self._shape)

    def distances(self, images: Tensor) -> Tensor:
        """Return the distances float64 [B] of images [B,C,H,W] from the centres."""
        return self._length(self._exact(images) - self._centres)

    def _length(self, offsets: Tensor) -> Tensor:
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
