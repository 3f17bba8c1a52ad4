"""Images made up on the spot, for smoke tests: nothing to download, any size."""

import numpy as np
import torch

from dmaelab.data.build import DATASETS, Dataset, check_split
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

_CELLS = 4  # a class is known by a pattern of 4 x 4 coloured cells


@DATASETS.register("generated")
class Generated(Dataset):
    """Made-up images: a class is a pattern of 4x4 random colours, an image the mean of it and random pixels.

    They can be learned, and are always the same: patterns depend on the class, random pixels and the order of
    the labels on the split. Classes have equally many images, or nearly.

    Args:
        count: number of images.
        image_size: height and width in pixels.
        num_classes: number of classes, 2 at least.
        channels: colours of a pixel.
        split: ``train`` or ``test``.

    Raises:
        UserError: for another split, and for a number that is too small.
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
        super().__init__(
            torch.from_numpy(labels), [f"pattern {label}" for label in range(num_classes)], torch.from_numpy(images)
        )
