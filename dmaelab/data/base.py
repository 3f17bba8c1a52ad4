"""The base class of data sets: uint8 images and integer labels by index."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dmaelab.utils.errors import UserError, did_you_mean


class Dataset:
    """A map-style data set of uint8 images.

    A subclass that keeps its images in memory passes them to the constructor and needs nothing else. A subclass that
    reads images from disk implements :meth:`load`. Images have the size at which they are evaluated and certified.
    Random transforms are not part of the data set but of the training loader.

    Args:
        targets: the labels, integers ``[N]``.
        classes: a name for each of the K labels, in label order.
        images: all images in memory, uint8 ``[N,C,H,W]``, or None.
        image_shape: ``(C, H, W)`` of every image; None if sizes vary. It is ignored if ``images`` is given.
    """

    def __init__(
        self,
        targets: Tensor | Sequence[int],
        classes: Sequence[str],
        images: Tensor | None = None,
        image_shape: tuple[int, int, int] | None = None,
    ) -> None:
        self.targets = torch.as_tensor(targets, dtype=torch.int64)
        self.classes = list(classes)
        self.images = images
        self.image_shape = image_shape if images is None else tuple(images.shape[1:])

    @property
    def num_classes(self) -> int:
        """The number of classes K."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.targets)

    def load(self, index: int) -> tuple[Tensor, int]:
        """Return image ``index`` as uint8 ``[C,H,W]`` with any strides, and its label.

        Raises:
            IndexError: there is no such image.
            UserError: the image cannot be read. The message gives the file name.
        """
        if self.images is None:
            raise NotImplementedError(
                f"{type(self).__name__} must define load(index), or pass images to Dataset.__init__"
            )
        return self.images[index].clone(), int(self.targets[index])  # a copy: a transform may work in place

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.load(index)


def check_split(name: str, split: str, splits: Sequence[str]) -> None:
    """Raise ``UserError`` if the data set ``name`` has no split ``split``; the message lists its splits."""
    if split not in splits:
        raise UserError(
            f"data set '{name}' has no split '{split}'{did_you_mean(split, splits)}; it has {', '.join(splits)}"
        )
