"""The base class of data sets: uint8 images and integer labels by index."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dmaelab.utils.class_labels import NO_LABEL, class_label
from dmaelab.utils.errors import UserError, did_you_mean
from dmaelab.utils.signatures import signature_of


class Dataset:
    """A map-style data set of uint8 images.

    A subclass that keeps its images in memory passes them to the constructor and needs nothing else. A subclass that
    reads images from disk implements :meth:`load`. Images have the size at which they are evaluated and certified.
    Random transforms are not part of the data set but of the training loader.

    A label is a whole number from 0 to K - 1, or -1 if the class of the image is not known. Unlabelled images serve
    the pre-training of an autoencoder only: a classifier is trained, evaluated and certified on labelled ones.

    Args:
        targets: the labels, whole numbers ``[N]``.
        classes: a name for each of the K labels, in label order.
        images: all images in memory, uint8 ``[N,C,H,W]``, or None.
        image_shape: ``(C, H, W)`` of every image; None if sizes vary. It is ignored if ``images`` is given.

    Attributes:
        replaces_images: whether :meth:`load` may return another image, with the label of that image, in place of one
            that cannot be read.

    Raises:
        UserError: a label is not a whole number from -1 to K - 1, or there is not one label for each image.
    """

    replaces_images = False

    def __init__(
        self,
        targets: Tensor | Sequence[int],
        classes: Sequence[str],
        images: Tensor | None = None,
        image_shape: tuple[int, int, int] | None = None,
    ) -> None:
        self.classes = list(classes)
        self.targets = _whole_labels(targets, len(self.classes))
        if images is not None and len(images) != len(self.targets):
            raise UserError(f"a data set got {len(images)} images and {len(self.targets)} labels: give one for each")
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
        """Return what :meth:`load` returns, after a check of the label.

        Raises:
            UserError: the label is none of the K classes, or is not ``targets[index]``.
        """
        image, label = self.load(index)
        target = int(self.targets[index])
        name = f"{type(self).__name__}: image {index}"
        found = class_label(label, self.num_classes, name, optional=target == NO_LABEL)
        if found != target and not self.replaces_images:
            raise UserError(
                f"{type(self).__name__}: load({index}) returns the label {found}, but targets[{index}] is {target}:"
                " both must be the same"
            )
        return image, found

    @classmethod
    def classes_of(cls, arguments: Mapping[str, Any]) -> Sequence[str] | None:
        """Return the ``classes`` of the data set with these arguments, without reading images; None if not known.

        The check of a config (``--dry-run``) calls it, so it must be fast, and must return None if the data are not on
        this machine. A subclass with a constructor of its own needs its own method; by default nothing is known.

        Args:
            arguments: the arguments of the constructor by name, with its defaults filled in.
        """
        return None


def declared_classes(entry: type[Dataset], arguments: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the class names of the data set ``entry(**arguments)`` without building it; None if they are not known.

    Only a :meth:`Dataset.classes_of` that belongs to the constructor, or was inherited together with it, is asked.
    """
    speaker, constructor = (
        next(base for base in entry.__mro__ if name in vars(base)) for name in ("classes_of", "__init__")
    )
    if not issubclass(speaker, constructor):
        return None
    parameters = signature_of(entry, entry.__name__).parameters
    defaults = {name: item.default for name, item in parameters.items() if item.default is not item.empty}
    return entry.classes_of({**defaults, **arguments})


def _whole_labels(values: Any, count: int) -> Tensor:
    """Return labels as int64 [N]; ``UserError`` if one is not a whole number from -1 to ``count - 1``."""
    try:
        labels = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"the labels of a data set are whole numbers, one for each image ({reason})") from error
    if labels.ndim != 1 or labels.is_complex():
        raise UserError(
            f"the labels of a data set are {labels.dtype} {list(labels.shape)}: give whole numbers [N], one for each"
            " image"
        )
    whole = labels.to(torch.int64)
    wrong = (whole < NO_LABEL) | (whole >= count)
    if labels.is_floating_point():
        wrong |= whole != labels
    if wrong.any():
        first = int(wrong.nonzero()[0])
        found = f"{labels[first].item():.4g}" if labels.is_floating_point() else int(labels[first])
        raise UserError(
            f"image {first} has the label {found}, but there are {count} classes: labels are whole"
            f" numbers from 0 to {count - 1}, or -1 for an image without a label"
        )
    return whole


def check_split(name: str, split: str, splits: Sequence[str]) -> None:
    """Raise ``UserError`` if the data set ``name`` has no split ``split``; the message lists its splits."""
    if split not in splits:
        raise UserError(
            f"data set '{name}' has no split '{split}'{did_you_mean(split, splits)}; it has {', '.join(splits)}"
        )
