"""Training transforms. No normalisation: it happens in the model, after the noise.

Two kinds. A *transform* takes one uint8 image ``[C,H,W]`` and draws from the global generators, which
the loader seeds for each sample: anything of ``torchvision.transforms.v2`` or timm. An *augmentation*
takes a whole micro-batch and a numpy generator, and costs next to nothing: what small images want.
"""

import numpy as np
import torch
from torch import Tensor, nn

from dmaelab.utils.errors import UserError


class HorizontalFlip:
    """Augmentation: mirror each image with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise UserError(f"HorizontalFlip: p is {p}, a probability is between 0 and 1")
        self.p = p

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Return ``images`` [N,C,H,W], some of them mirrored."""
        flip = torch.from_numpy(rng.random(len(images)) < self.p)
        return torch.where(flip.view(-1, 1, 1, 1), images.flip(-1), images)


class RandomCrop:
    """Augmentation: pad with zeros, then cut the original size out at a random place (Cohen et al. on CIFAR-10: 4)."""

    def __init__(self, padding: int = 4) -> None:
        if padding < 0:
            raise UserError(f"RandomCrop: padding is {padding}, give a number of pixels >= 0")
        self.padding = padding

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Return ``images`` [N,C,H,W], each moved by up to ``padding`` pixels either way."""
        n, _, height, width = images.shape
        padded = nn.functional.pad(images, (self.padding,) * 4)
        top, left = torch.from_numpy(rng.integers(0, 2 * self.padding + 1, size=(2, n)))
        rows = top[:, None] + torch.arange(height)
        columns = left[:, None] + torch.arange(width)
        picked = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [N,H,W,C]
        return picked.permute(0, 3, 1, 2).contiguous()


def random_resized_crop(size: int, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)) -> nn.Module:
    """Return the transform that cuts a random box and resizes it to ``size`` x ``size``, bicubic.

    torchvision's. MAE and DMAE pre-train with ``scale=(0.2, 1)`` and fine-tune with the default.
    """
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(size, scale, ratio, interpolation=v2.InterpolationMode.BICUBIC)
