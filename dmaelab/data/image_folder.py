"""Image files in one folder per class."""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmaelab.data.base import Dataset
from dmaelab.data.build import DATASETS
from dmaelab.data.decode import read_pil, read_rgb, to_tensor
from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_faults
from dmaelab.utils.paths import data_root, root_at_hand

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

logger = logging.getLogger(__name__)


class ImageFiles(Dataset):
    """A list of image files, read as RGB; the base class of ``image_folder`` and ``imagenet``.

    Args:
        files: paths of the images.
        targets: the labels, integers ``[N]``.
        classes: a name for each label, in label order.
        image_size: if given, every image is resized (its shorter side to ``resize``, with PIL's bicubic filter) and
            cropped at its centre to ``[3, image_size, image_size]``, as usual in evaluation. Otherwise images keep
            their own size, which is what training transforms expect.
        resize: the shorter side before the crop; ``image_size`` by default (ImageNet: 256 for 224).
        skip_corrupt: replace an image that cannot be read by the next readable image and its label, and log a warning.
            This is meant for training. By default a corrupt image is an error.
        in_memory: decode all images now and keep them in memory; they must have equal sizes.

    Raises:
        UserError: ``image_size`` or ``resize`` is too small, an image cannot be read, or the images have different
            sizes with ``in_memory``.
    """

    def __init__(
        self,
        files: Sequence[str],
        targets: Sequence[int],
        classes: Sequence[str],
        image_size: int | None = None,
        resize: int | None = None,
        skip_corrupt: bool = False,
        in_memory: bool = False,
    ) -> None:
        if resize is not None and (image_size is None or resize < image_size):
            raise UserError(f"resize={resize} needs an image_size that is not larger, got image_size={image_size}")
        if image_size is not None and image_size < 1:
            raise UserError(f"image_size is {image_size}: give a number of pixels >= 1")
        super().__init__(targets, classes, image_shape=None if image_size is None else (3, image_size, image_size))
        self.files = list(files)
        self.image_size = image_size
        self.resize = resize or image_size
        self.skip_corrupt = self.replaces_images = skip_corrupt
        self.skipped: set[str] = set()  # files that this process has replaced so far
        if in_memory:
            self._load_all()

    def load(self, index: int) -> tuple[Tensor, int]:
        """Return image ``index`` as uint8 ``[3,H,W]``, and its label; see :meth:`Dataset.load`."""
        if self.images is not None:
            return super().load(index)
        while True:
            file = self.files[index]
            try:
                return self._read(file), int(self.targets[index])
            except UserError as error:
                if not self.skip_corrupt:
                    raise
                self._skip(file, error)
                index = (index + 1) % len(self)

    def _skip(self, file: str, error: UserError) -> None:
        if file in self.skipped:
            return
        self.skipped.add(file)
        if len(self.skipped) == len(self.files):
            raise UserError(f"none of the {len(self.files)} images can be read; last error: {error}") from error
        logger.warning("%s; the next image is used instead (%d so far in this process)", error, len(self.skipped))

    def _read(self, file: str) -> Tensor:
        if self.image_size is None:
            return read_rgb(file)
        from torchvision.transforms.v2 import InterpolationMode, functional

        image = functional.resize(read_pil(file), [self.resize], interpolation=InterpolationMode.BICUBIC)
        return to_tensor(functional.center_crop(image, [self.image_size])).contiguous()

    @machine_faults("set in_memory=False")
    def _load_all(self) -> None:
        images: Tensor | None = None
        targets = torch.empty_like(self.targets)
        for index, file in enumerate(self.files):  # in one thread, because more threads make PIL slower on small files
            image, targets[index] = self.load(index)
            if images is None:
                images = torch.empty((len(self), *image.shape), dtype=torch.uint8)
            if image.shape != images.shape[1:]:
                sizes = f"{tuple(image.shape)}, {self.files[0]} is {tuple(images.shape[1:])}"
                raise UserError(f"in_memory needs images of one size, but {file} is {sizes}; set image_size")
            images[index] = image
        assert images is not None
        self.images, self.targets, self.image_shape = images, targets, tuple(images.shape[1:])


@DATASETS.register("image_folder")
class ImageFolder(ImageFiles):
    """Images in ``root/<split>/<class>/*.jpg`` (or png, webp, ...), sorted by class, then by name.

    Args:
        root: see :func:`dmaelab.utils.paths.data_root`.
        split: the folder below ``root`` that holds the class folders.
        classes: names of the class folders in label order; by default all of them, sorted as text, so that "10" comes
            before "2". Set it if that is not the order of the labels, or if the split contains only some of the classes
            of a model.
        image_size: this and the other arguments are as in :class:`ImageFiles`.

    Raises:
        UserError: a folder is missing or contains no images, a class folder is not in ``classes`` or is named there
            twice, or an image cannot be read.
    """

    def __init__(
        self,
        root: str | None = None,
        split: str = "train",
        classes: list[str] | None = None,
        image_size: int | None = None,
        resize: int | None = None,
        skip_corrupt: bool = False,
        in_memory: bool = False,
    ) -> None:
        folder = data_root("image_folder", root) / split
        if not folder.is_dir():
            raise UserError(f"data set 'image_folder' has no split '{split}': there is no folder {folder}")
        found = class_folders(folder)
        names = _in_label_order(folder, found, classes)
        listing = {name: _image_files(folder / name) for name in found}
        empty = [name for name in found if not listing[name]]
        if empty or not found:
            where = folder / empty[0] if empty else folder
            raise UserError(
                f"no images in {where}: expected {split}/<class>/<image>, an image being one of {', '.join(SUFFIXES)}"
            )
        pairs = [(file, label) for label, name in enumerate(names) for file in listing.get(name, [])]
        super().__init__(
            [file for file, _ in pairs],
            [label for _, label in pairs],
            names,
            image_size,
            resize,
            skip_corrupt,
            in_memory,
        )

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> list[str] | None:
        """Return the names of the class folders in label order; None if the split is not on this machine."""
        root = root_at_hand("image_folder", arguments["root"])
        folder = None if root is None else root / arguments["split"]
        if folder is None or not folder.is_dir():
            return None
        return _in_label_order(folder, class_folders(folder), arguments["classes"]) or None


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in the folder of a split, sorted as text; the images in them are not listed."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _in_label_order(folder: Path, found: list[str], classes: Sequence[str] | None) -> list[str]:
    """Return the names of the classes: ``classes``, which must contain each folder that was found, or those folders."""
    if classes is None:
        return found
    counts = Counter(classes)
    if twice := [name for name in classes if counts[name] > 1]:
        raise UserError(f"classes=[...] names the folder '{twice[0]}' twice: each label has a folder of its own")
    if unknown := [name for name in found if name not in counts]:
        raise UserError(f"{folder / unknown[0]} is a class folder, but '{unknown[0]}' is not in classes=[...]")
    return list(classes)


def _image_files(folder: Path) -> list[str]:
    """Return the image files of one class folder, sorted by name."""
    return sorted(entry.path for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES))
