"""Class labels: which values may name the class of an image."""

from typing import Any

from dmaelab.utils.errors import UserError

NO_LABEL = -1
"""The label of an image whose class is not known."""


def class_label(value: Any, count: int, name: str, optional: bool = False) -> int:
    """Return the label of an image as an int in 0, ..., ``count - 1``.

    Args:
        value: a whole number of any type: an int, or a NumPy or torch scalar.
        count: number of classes K.
        name: name of the image in the error message, such as "image 7".
        optional: whether -1, which means "no label", is accepted too.

    Raises:
        UserError: the value is not a whole number, or none of these.
    """
    try:
        label = int(value)
        is_whole = bool(label == value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # text, None, nan, inf, several numbers
        is_whole = False
    if not is_whole:
        shown = " ".join(repr(value).split())[:60]
        raise UserError(f"{name} has the label {shown}: labels are whole numbers from 0 to {count - 1}")
    if 0 <= label < count or (label == NO_LABEL and optional):
        return label
    if label == NO_LABEL:
        raise UserError(f"{name} has the label -1, which means that its class is not known: leave it out")
    raise UserError(f"{name} has the label {label}, but there are {count} classes: labels go from 0 to {count - 1}")
