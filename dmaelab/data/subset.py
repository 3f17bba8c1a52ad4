"""Select the images of a data set that are evaluated or certified."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw


def select_indices(
    length: int, subset: Mapping[str, int] | Sequence[int] | None = None, targets: Any = None
) -> list[int]:
    """Return the indices of the images of a data set that are evaluated or certified.

    Args:
        length: number of images in the data set.
        subset: one of

            * None for all images,
            * ``{"stride": k}`` for every k-th image, starting with image 0,
            * ``{"count": n}`` for n evenly spaced images, ``floor(i * length / n)`` for i = 0, ..., n - 1,
            * ``{"random": n, "seed": s}`` for n random images,
            * ``{"stratified": n, "seed": s}`` for n random images with equally many of each class, as far as n and the
              class sizes allow,
            * a list of indices, whose order is kept. All other forms give ascending indices.

            The seed is 0 by default.
        targets: the labels, integers ``[length]``; only ``stratified`` needs them.

    Raises:
        UserError: another form, indices that are repeated or out of range, or ``stratified`` without labels.
    """
    if subset is None:
        return list(range(length))
    if isinstance(subset, Mapping):
        chosen = _by_rule(length, dict(subset), targets)
    else:
        chosen = _listed(length, subset)
    if chosen is None:
        forms = "{'stride': k}, {'count': n}, {'random': n, 'seed': s}, {'stratified': n, 'seed': s}"
        raise UserError(
            f"subset={subset} does not fit a data set of {length} images: give {forms} or different indices below"
            f" {length}"
        )
    return chosen


def _listed(length: int, subset: Any) -> list[int] | None:
    if not isinstance(subset, Sequence) or isinstance(subset, str):
        return None
    fits = all(type(index) is int and 0 <= index < length for index in subset) and 0 < len(set(subset)) == len(subset)
    return list(subset) if fits else None


def _by_rule(length: int, rule: dict[str, int], targets: Any) -> list[int] | None:
    seed = rule.pop("seed", 0) if rule.keys() & {"random", "stratified"} else 0
    if len(rule) != 1 or any(type(number) is not int for number in (seed, *rule.values())):
        return None
    ((form, number),) = rule.items()
    if form == "stride" and number >= 1:
        return list(range(0, length, number))
    if not 1 <= number <= length:
        return None
    if form == "count":
        return [i * length // number for i in range(number)]
    order = Draw(seed, "data", "subset").host().permutation(length)
    if form == "random":
        return sorted(order[:number].tolist())
    if form == "stratified":
        if targets is None:
            raise UserError(
                f"subset={{'stratified': {number}}} needs the labels of the data set: pass its targets, or use 'random'"
            )
        return sorted(order[np.argsort(_turns(np.asarray(targets)[order]), kind="stable")[:number]].tolist())
    return None


def _turns(labels: np.ndarray) -> np.ndarray:
    """Return for each image [N] the number of earlier images of its class.

    The n images with the smallest numbers are spread evenly over the classes.
    """
    by_class = np.argsort(labels, kind="stable")
    begin = np.searchsorted(labels[by_class], labels[by_class])  # where the class begins in by_class
    turns = np.empty(len(labels), dtype=np.int64)
    turns[by_class] = np.arange(len(labels)) - begin
    return turns
