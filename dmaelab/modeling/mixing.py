"""Mixup and CutMix of a batch with its own reverse, before or after the noise."""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from dmaelab.utils.errors import ConfigError


@dataclass(frozen=True)
class Mix:
    """How one batch is mixed: image i with image N-1-i, all with one weight or one box.

    Attributes:
        weight: share of an image that stays its own, in [0, 1]; for a box exactly that of its area.
        box: top, bottom, left, right of what comes from the partner (CutMix), or None for a weighted sum (mixup).
    """

    weight: float
    box: tuple[int, int, int, int] | None = None

    def images(self, images: Tensor) -> Tensor:
        """Return mixed images [N,C,H,W].

        On m copies of B images, copy-major, the reverse pairs row c*B + i with (m-1-c)*B + (B-1-i): all copies of an
        image share one clean partner and keep noise of their own.
        """
        partner = images.flip(0)
        if self.box is None:
            return self.weight * images + (1 - self.weight) * partner
        top, bottom, left, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
        return mixed

    def targets(self, targets: Tensor, num_classes: int) -> Tensor:
        """Return probabilities [N,K], float32, of classes [N]."""
        one_hot = F.one_hot(targets, num_classes).float()
        return self.weight * one_hot + (1 - self.weight) * one_hot.flip(0)


class Mixing:
    """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019), one choice for a batch.

    Args:
        mixup: parameter of the Beta distribution of mixup's weight; 0 leaves mixup out.
        cutmix: likewise of CutMix's share of the area; 0 leaves CutMix out. With both each is taken half the time.
        after_noise: mix the noisy copies, as the reference does: a weighted sum with weight w then has noise of only
            sigma * sqrt(w^2 + (1-w)^2). ``False`` mixes clean images, and all noise is of sigma.

    Raises:
        ConfigError: a negative parameter, or both 0.
    """

    def __init__(self, mixup: float = 0.8, cutmix: float = 1.0, after_noise: bool = True) -> None:
        if min(mixup, cutmix) < 0 or max(mixup, cutmix) == 0:
            raise ConfigError(
                f"mixing has mixup={mixup} and cutmix={cutmix}: give numbers >= 0, at least one of them more (or"
                " mixing=None)"
            )
        self.mixup, self.cutmix, self.after_noise = mixup, cutmix, after_noise

    def choose(self, height: int, width: int, rng: np.random.Generator) -> Mix:
        """Return the mix of one batch of images of this size; on the host, so that nothing waits for the device."""
        if self.mixup == 0 or (self.cutmix > 0 and rng.random() < 0.5):
            return _box(height, width, rng.beta(self.cutmix, self.cutmix), rng)
        return Mix(float(rng.beta(self.mixup, self.mixup)))


def _box(height: int, width: int, weight: float, rng: np.random.Generator) -> Mix:
    """Choose a box of about 1 - weight of the area, centred anywhere and cut off at the border; the weight follows the
    box.
    """
    half_height, half_width = (int(side * (1 - weight) ** 0.5) // 2 for side in (height, width))
    row, column = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(row - half_height, 0), min(row + half_height, height)
    left, right = max(column - half_width, 0), min(column + half_width, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))
