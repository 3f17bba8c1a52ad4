"""The pixel statistics of the model in a file. Files of this project store them; for others they must be given."""

from collections.abc import Sequence
from typing import Any

from dmaelab.weights.files import Weights, WeightsError

PIXEL_STATISTICS = {  # per channel, in [0,1] pixel units: those of the official code
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]),
}


def choose_statistics(
    weights: Weights, pixel_mean: Sequence[float] | str | None, pixel_std: Sequence[float] | None, channels: int
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in [0,1] pixel units.

    They are those that are given, or else those that the file stores. There is no default, because nothing in a file
    tells whether it was trained on CIFAR or on ImageNet.

    Args:
        weights: weights of the file.
        pixel_mean: mean per channel, or one name for both from :data:`PIXEL_STATISTICS`; None takes the file's.
        pixel_std: standard deviation per channel; None if ``pixel_mean`` is a name or None.
        channels: number of channels.

    Raises:
        WeightsError: nothing is given and nothing is stored, the values are invalid, or they are not those that the
            file stores.
    """
    stored = _stored(weights, "pixel_mean"), _stored(weights, "pixel_std")
    names = " or ".join(f'"{name}"' for name in PIXEL_STATISTICS)
    if isinstance(pixel_mean, str):
        if pixel_mean not in PIXEL_STATISTICS or pixel_std is not None:
            raise WeightsError(
                f"pixel_mean is '{pixel_mean}': give {names} alone, or numbers for pixel_mean and pixel_std"
            )
        pixel_mean, pixel_std = PIXEL_STATISTICS[pixel_mean]
    elif (pixel_mean is None) != (pixel_std is None):
        raise WeightsError("pixel_mean and pixel_std come together: give both, or a name as pixel_mean alone")
    elif pixel_mean is None:
        pixel_mean, pixel_std = stored
    if pixel_mean is None or pixel_std is None:
        raise WeightsError(
            f"{weights.source}: stores no pixel statistics, and its tensors do not tell CIFAR from ImageNet:"
            f" pass pixel_mean={names}, or numbers for pixel_mean and pixel_std"
        )
    mean, std = _numbers(pixel_mean), _numbers(pixel_std)
    if not len(mean) == len(std) == channels or not all(
        0 <= m <= 1 and 0 < s <= 1 for m, s in zip(mean, std, strict=True)
    ):
        raise WeightsError(
            f"{weights.source}: pixel_mean {pixel_mean} and pixel_std {pixel_std} are not {channels} numbers each,"
            " in [0,1] pixel units, 0 < pixel_std <= 1"
        )
    for name, given, values in (("pixel_mean", mean, stored[0]), ("pixel_std", std, stored[1])):
        if values is not None:
            _check_stored(weights.source, name, given, values)
    return mean, std


def _check_stored(source: str, name: str, given: list[float], values: Any) -> None:
    kept = [round(value, 6) for value in _numbers(values)]
    if len(kept) != len(given) or any(abs(a - b) > 1e-4 for a, b in zip(given, kept, strict=True)):
        raise WeightsError(
            f"{source}: stores {name} {kept}, but {given} is given: leave it out"
            " (to change it on purpose, replace the preprocess of the loaded model)"
        )


def _numbers(values: Any) -> list[float]:
    """Return a sequence as a list of floats; empty if it is not a sequence of numbers."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []


def _stored(weights: Weights, name: str) -> Any:
    buffer = weights.state.get(f"preprocess.{name}")
    return weights.facts.get(name) if buffer is None else buffer.flatten().tolist()
