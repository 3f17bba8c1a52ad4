"""Shapes: a data set that is drawn when it is built."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dmaelab.data import DATASETS, Dataset
from dmaelab.data.base import check_split
from dmaelab.utils.random import Draw

CLASSES = ("disc", "square", "diamond", "cross")
COUNTS = {"train": 2000, "val": 200, "test": 200}


@DATASETS.register("shapes")
class Shapes(Dataset):
    """Discs, squares, diamonds and crosses of random size, place and colours, drawn at any resolution.

    A bright shape on a dark ground. The same arguments always give the same images, and image i is the same drawing
    at every ``image_size``.

    Args:
        split: ``train`` (2,000 images), ``val`` or ``test`` (200 each).
        image_size: height and width in pixels.

    Raises:
        UserError: there is no such split.
    """

    def __init__(self, split: str = "train", image_size: int = 16) -> None:
        check_split("shapes", split, tuple(COUNTS))
        count, rng = COUNTS[split], Draw(0, "data", "shapes", split).host()
        labels = rng.permutation(np.arange(count) % len(CLASSES))
        x, y = rng.uniform(0.35, 0.65, (2, count, 1, 1))  # the centre, as a share of the side
        radius = rng.uniform(0.15, 0.3, (count, 1, 1))
        ground, colour = (rng.integers(low, low + 100, (count, 3, 1, 1), np.uint8) for low in (0, 156))
        pixels = (np.arange(image_size) + 0.5) / image_size
        inside = _inside(np.abs(pixels - x), np.abs(pixels[:, None] - y), radius)[labels, np.arange(count)]
        images = np.where(inside[:, None], colour, ground)
        super().__init__(torch.from_numpy(labels), CLASSES, torch.from_numpy(images))

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the four shapes, so that a dry run can compare them with the head."""
        return CLASSES


def _inside(dx: np.ndarray, dy: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return for each class and image which pixels are inside the shape, bool [4,N,S,S].

    Args:
        dx, dy: distances of the columns [N,1,S] and rows [N,S,1] from the centre.
        radius: [N,1,1].
    """
    larger, smaller = np.maximum(dx, dy), np.minimum(dx, dy)
    return np.stack(
        [
            dx**2 + dy**2 <= radius**2,
            larger <= 0.9 * radius,
            dx + dy <= 1.3 * radius,
            (smaller <= 0.35 * radius) & (larger <= 1.2 * radius),
        ]
    )
