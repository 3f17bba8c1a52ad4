"""Mixup and CutMix: each image of a batch is mixed with another, and so are their targets.

Image i is mixed with image N-1-i, and all images of a batch are mixed in the same way (:class:`Mix`), which
:class:`Mixing` chooses at random. Images are mixed before or after the noise is added. The loss sees only the result:
mixed images, and probabilities as targets. So mixing works with every loss that accepts probabilities.
"""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from dmaelab.utils.errors import ConfigError


@dataclass(frozen=True)
class Mix:
    """How one batch is mixed: image i with image N-1-i, all images with one weight or one box.

    Attributes:
        weight: weight of an image in its mix, in [0, 1]. With a box it is the share of the area outside the box.
        box: top, bottom, left, right of the part that comes from the partner (CutMix), in pixels; ``None`` is a
            weighted sum (mixup).
    """

    weight: float
    box: tuple[int, int, int, int] | None = None

    def images(self, images: Tensor) -> Tensor:
        """Return mixed images [N,C,H,W]: row i is mixed with row N-1-i.

        This works for m noisy copies of B images, copy-major: row c*B + i (copy c of image i) is mixed with row
        (m-1-c)*B + (B-1-i), a copy of image B-1-i. So all copies of an image have the same partner, each with noise of
        its own.
        """
        partner = images.flip(0)
        if self.box is None:
            return self.weight * images + (1 - self.weight) * partner
        top, bottom, left, right = self.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
        return mixed

    def targets(self, targets: Tensor, num_classes: int) -> Tensor:
        """Return the target probabilities [N,K], float32, of the mixed images, for classes [N], int64."""
        one_hot = F.one_hot(targets, num_classes).float()
        return self.weight * one_hot + (1 - self.weight) * one_hot.flip(0)


class Mixing:
    """Mixes each batch by mixup (Zhang et al., 2018) or by CutMix (Yun et al., 2019).

    Args:
        mixup: parameter alpha of the Beta(alpha, alpha) distribution of mixup's weight; 0 turns mixup off.
        cutmix: the same for the share of the area that CutMix leaves; 0 turns CutMix off. If both are on, each batch
            is mixed by one of them, with probability 1/2.
        after_noise: ``True`` mixes the noisy copies, as the official code does; after a mixup with weight w the noise
            has the level sigma * sqrt(w^2 + (1-w)^2). ``False`` mixes clean images, and all noise has the level sigma.

    Raises:
        ConfigError: one of ``mixup`` and ``cutmix`` is negative, or both are 0.
    """

    def __init__(self, mixup: float = 0.8, cutmix: float = 1.0, after_noise: bool = True) -> None:
        if min(mixup, cutmix) < 0 or max(mixup, cutmix) == 0:
            raise ConfigError(
                f"mixing has mixup={mixup} and cutmix={cutmix}: give numbers >= 0, at least one of them > 0 (or"
                " mixing=None)"
            )
        self.mixup, self.cutmix, self.after_noise = mixup, cutmix, after_noise

    def choose(self, height: int, width: int, rng: np.random.Generator) -> Mix:
        """Return the mix of one batch of images of this size, drawn on the CPU, so that nothing waits for the GPU."""
        if self.mixup == 0 or (self.cutmix > 0 and rng.random() < 0.5):
            return _box(height, width, rng.beta(self.cutmix, self.cutmix), rng)
        return Mix(float(rng.beta(self.mixup, self.mixup)))


def _box(height: int, width: int, weight: float, rng: np.random.Generator) -> Mix:
    """Return a CutMix with a box of about ``1 - weight`` of the area, at a random centre and cut off at the border.

    The weight of the result is the exact share of the area outside the box.
    """
    half_height, half_width = (int(side * (1 - weight) ** 0.5) // 2 for side in (height, width))
    row, column = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(row - half_height, 0), min(row + half_height, height)
    left, right = max(column - half_width, 0), min(column + half_width, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))
