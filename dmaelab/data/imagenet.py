"""ImageNet (ILSVRC 2012), read by torchvision."""

from collections.abc import Mapping
from typing import Any

from dmaelab.data.base import check_split
from dmaelab.data.build import DATASETS
from dmaelab.data.image_folder import ImageFiles, class_folders
from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_error
from dmaelab.utils.paths import data_root, root_at_hand


@DATASETS.register("imagenet")
class ImageNet(ImageFiles):
    """ImageNet-1k. On first use, torchvision unpacks the official archives.

    The archives can only be downloaded with an account. Put ``ILSVRC2012_devkit_t12.tar.gz`` and
    ``ILSVRC2012_img_{train,val}.tar`` into the root. For an unpacked ImageNet without the devkit use ``image_folder``:
    it gives the same labels, but the names of the classes are their WordNet ids.

    Args:
        root: see :func:`dmaelab.utils.paths.data_root`.
        split: ``train`` (1,281,167 images) or ``val`` (50,000, sorted by class).
        image_size: this and the other arguments are as in :class:`dmaelab.data.image_folder.ImageFiles`.

    Raises:
        UserError: the folder or the archives are missing or damaged, or an image cannot be read.
    """

    def __init__(
        self,
        root: str | None = None,
        split: str = "train",
        image_size: int | None = None,
        resize: int | None = None,
        skip_corrupt: bool = False,
        in_memory: bool = False,
    ) -> None:
        check_split("imagenet", split, ("train", "val"))
        folder = data_root("imagenet", root)
        from torchvision import datasets

        try:
            source = datasets.ImageNet(str(folder), split=split)
        except (RuntimeError, OSError) as error:
            failed = UserError(f"data set 'imagenet' in {folder}: {str(error).splitlines()[0]}")
            raise machine_error(error, path=folder) or failed from error
        files, targets = [file for file, _ in source.samples], source.targets
        super().__init__(
            files, targets, [", ".join(names) for names in source.classes], image_size, resize, skip_corrupt, in_memory
        )

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> list[str] | None:
        """Return the names of the classes; None if the archives are not unpacked on this machine."""
        root = root_at_hand("imagenet", arguments["root"])
        if root is None or not (root / arguments["split"]).is_dir():
            return None
        from torchvision.datasets.imagenet import load_meta_file

        try:
            words = load_meta_file(str(root))[0]
        except Exception:  # the file is missing or torn; for arbitrary bytes the reader may raise anything
            return None
        folders = class_folders(root / arguments["split"])
        return [", ".join(words[wnid]) for wnid in folders] if set(folders) <= set(words) else None
