"""Generated images of any size for smoke tests, without a download."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dmaelab.data.base import Dataset, check_split
from dmaelab.data.build import DATASETS
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

_CELLS = 4  # the pattern of a class has 4 x 4 coloured cells


@DATASETS.register("generated")
class Generated(Dataset):
    """Generated images: each is the mean of the pattern of its class (4x4 random colours) and of random pixels.

    The classes can be learned, and the same arguments always give the same images. The patterns are the same for both
    splits; the random pixels and the order of the labels depend on the split. The numbers of images per class differ by
    at most one.

    Args:
        count: number of images.
        image_size: height and width in pixels.
        num_classes: number of classes, at least 2.
        channels: number of colour channels.
        split: ``train`` or ``test``.

    Raises:
        UserError: another split, or a number that is too small.
    """

    def __init__(
        self, count: int = 512, image_size: int = 32, num_classes: int = 10, channels: int = 3, split: str = "train"
    ) -> None:
        check_split("generated", split, ("train", "test"))
        if min(count, image_size, channels) < 1 or num_classes < 2:
            raise UserError(
                f"data set 'generated': count={count}, image_size={image_size}, channels={channels} must be >= 1, "
                f"num_classes={num_classes} >= 2"
            )
        patterns = (
            Draw(0, "data", "generated", "patterns")
            .host()
            .integers(0, 256, (num_classes, channels, _CELLS, _CELLS), np.uint8)
        )
        rng = Draw(0, "data", "generated", split).host()
        labels = rng.permutation(np.arange(count) % num_classes)
        cell = np.arange(image_size) * _CELLS // image_size
        images = rng.integers(0, 256, (count, channels, image_size, image_size), np.uint8) // 2
        images += (patterns // 2)[:, :, cell][..., cell][labels]
        super().__init__(torch.from_numpy(labels), _names(num_classes), torch.from_numpy(images))

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> list[str]:
        """Return the names of the ``num_classes`` classes."""
        return _names(arguments["num_classes"])


def _names(num_classes: int) -> list[str]:
    return [f"pattern {label}" for label in range(num_classes)]
