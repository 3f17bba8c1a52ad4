"""Contract check of data sets."""

from collections.abc import Mapping
from typing import Any

import torch

from dmaelab.data import Dataset
from dmaelab.data.base import declared_classes
from dmaelab.testing.expect import Expect
from dmaelab.utils.class_labels import NO_LABEL


def check_dataset(dataset: Dataset, arguments: Mapping[str, Any] | None = None) -> None:
    """Check that a data set keeps the contract of :class:`~dmaelab.data.Dataset`.

    Images are uint8 [C,H,W], labels are integers within the classes or -1, and each reading gives the same. ``load`` of
    an index past the end raises ``IndexError``. The check reads the first, the middle and the last image.

    Args:
        dataset: the data set.
        arguments: the arguments that it was built with; then ``classes_of`` must return its classes, or None. None does
            not check this.

    Raises:
        AssertionError: the contract is broken; the text names the first problem.
    """
    expect, count, targets = Expect(dataset), len(dataset), dataset.targets
    expect(count > 0, "it is empty")
    expect(
        targets.shape == (count,) and targets.dtype == torch.int64,
        f"targets are {targets.dtype} {list(targets.shape)}, not int64 [{count}]",
    )
    expect(
        ((targets >= NO_LABEL) & (targets < dataset.num_classes)).all(),
        f"there are targets outside its {dataset.num_classes} classes",
    )
    expect(
        len(set(dataset.classes)) == dataset.num_classes >= 2 or (targets == NO_LABEL).all(),
        "classes are not the different names of at least 2 classes",
    )
    if arguments is not None:
        declared = declared_classes(type(dataset), arguments)
        expect(
            declared is None or list(declared) == dataset.classes,
            f"classes_of returns {declared}, but its classes are {dataset.classes}",
        )
    for index in sorted({0, count // 2, count - 1}):
        _check_image(expect, dataset, index)
    try:
        dataset.load(count)
    except IndexError:
        return
    expect(False, f"it has {count} images and returns one at index {count}; raise IndexError")


def _check_image(expect: Expect, dataset: Dataset, index: int) -> None:
    with expect.isolation():
        image, label = dataset.load(index)
        first = image.clone()
        image.zero_()  # a transform may work in place
        again, _ = dataset.load(index)
    name, shape = f"image {index}", tuple(first.shape)
    expect(first.dtype == torch.uint8 and first.ndim == 3, f"{name} is {first.dtype} {list(shape)}, not uint8 [C,H,W]")
    expect(
        dataset.image_shape in (None, shape),
        f"{name} has the shape {list(shape)}, image_shape says {dataset.image_shape}",
    )
    expect(
        isinstance(label, int) and label == dataset.targets[index],
        f"{name} comes with the label {label!r}, which is not its target",
    )
    expect(
        torch.equal(first, again), f"{name} is another one when it is read again; return the same each time, as a copy"
    )
