"""CIFAR-10."""

from collections.abc import Mapping
from typing import Any

import torch

from dmaelab.data.base import Dataset, check_split
from dmaelab.data.build import DATASETS
from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_error
from dmaelab.utils.paths import data_root

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@DATASETS.register("cifar10")
class CIFAR10(Dataset):
    """CIFAR-10, 32x32 colour images, read by torchvision (from ``cifar-10-batches-py``, with checksums verified).

    Args:
        root: the folder that contains ``cifar-10-batches-py``; see :func:`dmaelab.utils.paths.data_root`.
        split: ``train`` (50,000 images) or ``test`` (10,000).
        download: download the data (170 MB) with torchvision if they are missing.

    Raises:
        UserError: the files are missing or damaged, or cannot be downloaded.
    """

    def __init__(self, root: str | None = None, split: str = "train", download: bool = False) -> None:
        check_split("cifar10", split, ("train", "test"))
        folder = data_root("cifar10", root, create=download)
        from torchvision import datasets

        try:
            source = datasets.CIFAR10(str(folder), train=split == "train", download=download)
        except (RuntimeError, OSError) as error:
            problem = (
                "the download failed"
                if download
                else "no intact cifar-10-batches-py there; set download=True to fetch it"
            )
            failed = UserError(f"data set 'cifar10' in {folder}: {problem} ({str(error).splitlines()[0]})")
            raise machine_error(error, path=folder) or failed from error
        images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
        super().__init__(source.targets, CLASSES, images)

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the ten classes."""
        return CLASSES
