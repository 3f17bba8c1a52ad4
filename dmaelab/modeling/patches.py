"""Patches as rows, and the random choice of the visible ones."""

from typing import NamedTuple

import torch
from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Return the patches [N,L,p*p*C] of images [N,C,H,W], row by row; inside a patch the channel varies fastest."""
    count, channels, height, width = images.shape
    rows, cols = height // patch_size, width // patch_size
    patches = images.view(count, channels, rows, patch_size, cols, patch_size)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(count, rows * cols, patch_size * patch_size * channels)


def unpatchify(patches: Tensor, patch_size: int, channels: int) -> Tensor:
    """Return square images [N,C,H,W] of patches [N,L,p*p*C]; the inverse of :func:`patchify`."""
    count, length, _ = patches.shape
    grid = round(length**0.5)
    images = patches.view(count, grid, grid, patch_size, patch_size, channels)
    return images.permute(0, 5, 1, 3, 2, 4).reshape(count, channels, grid * patch_size, grid * patch_size)


def normalise_patches(patches: Tensor) -> Tensor:
    """Return patches [N,L,P], each with zero mean and unit variance over its P numbers.

    The variance is unbiased and 1e-6 is added to it, as in MAE's ``norm_pix_loss``.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    variance = patches.var(dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


class Masking(NamedTuple):
    """A random choice of visible patches per image."""

    kept: Tensor  # [N,K] int64, visible patches in shuffled order
    ids_restore: Tensor  # [N,L] int64, indices that undo the shuffle
    mask: Tensor  # [N,L] float32, 1 where a patch is hidden


def random_masking(scores: Tensor, mask_ratio: float) -> Masking:
    """Keep the ``int(L * (1 - mask_ratio))`` patches with the smallest ``scores`` [N,L] of each image."""
    length = scores.shape[1]
    ids_shuffle = scores.argsort(dim=1, stable=True)
    ids_restore = ids_shuffle.argsort(dim=1)
    num_kept = int(length * (1 - mask_ratio))
    mask = (ids_restore >= num_kept).float()
    return Masking(ids_shuffle[:, :num_kept], ids_restore, mask)


def take(tokens: Tensor, ids: Tensor) -> Tensor:
    """Return the tokens [N,K,D] at the positions ``ids`` [N,K] of ``tokens`` [N,L,D]."""
    return torch.gather(tokens, 1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
