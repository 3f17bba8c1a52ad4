"""The handwritten digits that come with scikit-learn, which need no download."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dmaelab.data.base import Dataset, check_split
from dmaelab.data.build import DATASETS
from dmaelab.utils.errors import UserError

CLASSES = tuple("0123456789")
_HELD_OUT = 20  # images of each class in "test", and as many in "val"


@DATASETS.register("digits")
class Digits(Dataset):
    """1,797 handwritten digits, 8x8 grey (scikit-learn's copy of UCI's optical digits).

    A grey level x in 0..16 becomes ``round(255 x / 16)``. The split uses no random numbers: of the n images of a class,
    in the order of the file, those at the positions ``floor((j + 1/2) n / 40)``, j = 0..39, are held out, for ``test``
    if j is even and for ``val`` if j is odd. So ``test`` (to report and certify) and ``val`` (to choose settings) have
    20 images of each digit, and ``train`` has 1,397 images. The images of each split are spread over the whole file,
    and therefore over all writers.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        UserError: another split, or scikit-learn is not installed.
    """

    def __init__(self, split: str = "train") -> None:
        check_split("digits", split, ("train", "val", "test"))
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise UserError("data set 'digits' needs scikit-learn: pip install scikit-learn") from error
        grey, labels = load_digits(return_X_y=True)
        index = split_indices(labels, split)
        images = (grey[index].astype(np.int64) * 255 + 8) // 16
        super().__init__(
            targets=torch.from_numpy(labels[index]),
            classes=CLASSES,
            images=torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 8, 8),
        )

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the ten digits."""
        return CLASSES


def split_indices(labels: np.ndarray, split: str) -> np.ndarray:
    """Return the positions of the images of ``split`` among ``labels`` [N], in ascending order; see :class:`Digits`."""
    part = np.full(len(labels), "train", dtype="<U5")
    for digit in np.unique(labels):
        positions = np.flatnonzero(labels == digit)
        held_out = positions[(2 * np.arange(2 * _HELD_OUT) + 1) * len(positions) // (4 * _HELD_OUT)]
        part[held_out[0::2]] = "test"
        part[held_out[1::2]] = "val"
    return np.flatnonzero(part == split)
