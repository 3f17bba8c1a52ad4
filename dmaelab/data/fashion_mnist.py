"""Fashion-MNIST, read from its IDX files."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmaelab.data.base import Dataset, check_split
from dmaelab.data.build import DATASETS
from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_error
from dmaelab.utils.paths import data_root

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@DATASETS.register("fashion_mnist")
class FashionMNIST(Dataset):
    """Fashion-MNIST, 28x28 grey images, from its IDX files, which may be gzipped.

    Args:
        root: the folder of the IDX files, or the folder that contains torchvision's ``FashionMNIST/raw``; see
            :func:`dmaelab.utils.paths.data_root`.
        split: ``train`` (60,000 images) or ``test`` (10,000).
        download: download the files (30 MB) with torchvision if they are missing.

    Raises:
        UserError: the files are missing or damaged, or cannot be downloaded.
    """

    def __init__(self, root: str | None = None, split: str = "train", download: bool = False) -> None:
        check_split("fashion_mnist", split, ("train", "test"))
        folder = data_root("fashion_mnist", root, create=download)
        prefix = "train" if split == "train" else "t10k"
        names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
        if download and not all(_find(folder, name) for name in names):
            _download(folder)
        images, labels = (_read_idx(folder, name) for name in names)
        if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) >= len(CLASSES):
            raise UserError(
                f"data set 'fashion_mnist' in {folder}: images {images.shape} and labels {labels.shape} do not belong"
                " together"
            )
        super().__init__(torch.from_numpy(labels), CLASSES, torch.from_numpy(images)[:, None])

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the ten classes."""
        return CLASSES


def _find(folder: Path, name: str) -> Path | None:
    places = (folder, folder / "FashionMNIST" / "raw")
    return next((file for place in places for file in (place / name, place / f"{name}.gz") if file.is_file()), None)


def _read_idx(folder: Path, name: str) -> np.ndarray:
    """Read an IDX file of bytes.

    Its content is: two bytes 0, the type 8, the number of axes, the lengths of the axes as big-endian uint32, the data.
    """
    file = _find(folder, name)
    if file is None:
        raise UserError(
            f"data set 'fashion_mnist': no {name}[.gz] in {folder} or its FashionMNIST/raw; set its root, or"
            " download=True"
        )
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        if content[:3] != b"\x00\x00\x08":
            raise ValueError("not an IDX file of bytes")
        shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy()
    except (OSError, EOFError, ValueError) as error:
        damaged = UserError(f"data set 'fashion_mnist': {file} is damaged ({error})")
        raise machine_error(error, path=file) or damaged from error


def _download(folder: Path) -> None:
    from torchvision import datasets

    try:
        datasets.FashionMNIST(str(folder), download=True)
    except (RuntimeError, OSError) as error:
        failed = UserError(f"data set 'fashion_mnist' in {folder}: the download failed ({str(error).splitlines()[0]})")
        raise machine_error(error, path=folder) or failed from error
