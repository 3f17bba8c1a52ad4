"""The open balls that an attack searches: steps of ascent, and projections back into the balls."""

import torch
from torch import Tensor, nn

from dmaelab.utils.errors import UserError

BALL_NORMS = ("l2", "l1")
"""The norms of balls that can be searched."""

_MARGIN = 1e-6  # share of the radius that is left out, because certified balls are open


class Balls:
    """B open balls of images. A point in a ball is given as its offset from the centre, float64 [B,D], D = C H W.

    Args:
        images: the centres, float32 [B,C,H,W] in [0,1].
        radii: float64 [B] > 0, in [0,1] pixel units.
        norm: norm of the balls, one of :data:`BALL_NORMS`.
        steps: if given, only images whose values are whole multiples of 1/steps are searched (255 for 8-bit images);
            the centres must be such images too. None searches all images.

    Attributes:
        centres: float64 [B,D].

    Raises:
        UserError: the norm is not one of :data:`BALL_NORMS`.
    """

    def __init__(self, images: Tensor, radii: Tensor, norm: str, steps: int | None = None) -> None:
        if norm not in BALL_NORMS:
            raise UserError(f"the attack cannot search balls in {norm}: it knows {' and '.join(BALL_NORMS)}")
        self.norm, self.radii = norm, radii.view(-1, 1)
        self._steps = steps
        self._shape, self.centres = images.shape, self._exact(images)

    def at(self, shares: Tensor) -> Tensor:
        """Return ``shares`` [B,D] times the radii as offsets float64 [B,D], cut by :meth:`cut`; 0 is the centre."""
        return self.cut(self.radii * shares)

    def cut(self, offsets: Tensor) -> Tensor:
        """Return the offsets projected into the balls, less a small margin, then clamped to images in [0,1]."""
        limits = self.radii * (1 - _MARGIN)
        projected = project_l1(offsets, limits) if self.norm == "l1" else project_l2(offsets, limits)
        return (self.centres + projected).clamp(0, 1) - self.centres

    def climb(self, offsets: Tensor, gradients: Tensor, share: float) -> Tensor:
        """Return the offsets [B,D] after a step of length ``share`` times the radius, cut by :meth:`cut`.

        The step goes in the direction of steepest ascent in the norm: in l2 along the gradient, in l1 along the single
        value with the largest derivative. Values that are already 0 or 1 and would leave [0,1] do not take part. An
        offset with gradient 0 does not move.
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
        """Return the images float32 [B,C,H,W] at the offsets, rounded towards the centres.

        So the rounding never moves a value farther from the centre than its offset says.
        """
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
        """Return the lengths [...] of offsets [...,D] in the norm of the balls."""
        return torch.linalg.vector_norm(offsets, ord=1 if self.norm == "l1" else 2, dim=-1)

    def _exact(self, images: Tensor) -> Tensor:
        """Return images as float64 [B,D], exact multiples of 1/steps; in float32 k/255 has an error of about 3e-8."""
        values = images.detach().double().flatten(1)
        return (self._steps * values).round() / self._steps if self._steps else values


def project_l2(offsets: Tensor, limits: Tensor) -> Tensor:
    """Return the nearest points [B,D] to ``offsets`` [B,D] with an l2 norm of at most ``limits`` [B,1]."""
    return offsets * (limits / offsets.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp(max=1)


def project_l1(offsets: Tensor, limits: Tensor) -> Tensor:
    """Return the nearest points [B,D] to ``offsets`` [B,D] with an l1 norm of at most ``limits`` [B,1] > 0.

    All absolute values shrink by the same amount, down to 0. The amount follows from the sorted values (Duchi et al.,
    2008, Figure 1).
    """
    sizes = offsets.abs()
    ordered = sizes.sort(dim=1, descending=True).values
    amounts = (ordered.cumsum(1) - limits) / torch.arange(1, sizes.shape[1] + 1, device=sizes.device)
    kept = (ordered > amounts).sum(1, keepdim=True)
    amount = amounts.gather(1, kept - 1).clamp(min=0)
    return offsets.sign() * (sizes - amount).clamp(min=0)
