"""The sizes of a model, computed from the shapes of its tensors."""

import math

from dmaelab.weights.files import Weights, WeightsError
from dmaelab.weights.layouts import official_name

PUBLISHED_DECODER = {"width": 512, "depth": 8}
"""The size of the decoder in the published DMAE and MAE models."""


def vit_sizes(weights: Weights, trunk: str) -> dict[str, int | float]:
    """Return the arguments of :class:`ViT` that follow from the tensors below ``trunk``.

    They are ``width, depth, image_size, patch_size, in_channels, mlp_ratio``. ``trunk`` is ``"encoder"`` or
    ``"backbone"``.

    Raises:
        WeightsError: a tensor has an impossible shape.
    """
    width, channels, patch_size, _ = shape_of(weights, f"{trunk}.patch_embed.proj.weight", 4)
    _, length, _ = shape_of(weights, f"{trunk}.pos_embed", 3)
    hidden, _ = shape_of(weights, f"{trunk}.blocks.0.mlp.fc1.weight", 2)
    grid = math.isqrt(length - 1)
    if grid == 0 or grid**2 != length - 1:
        raise WeightsError(
            f"{weights.source}: {name_in_file(weights, f'{trunk}.pos_embed')} has {length} rows: expected one for the"
            " class token and a square number for the patches"
        )
    return {
        "width": width, "depth": block_count(weights, trunk), "image_size": grid * patch_size,
        "patch_size": patch_size, "in_channels": channels, "mlp_ratio": hidden / width,
    }  # fmt: skip


def decoder_sizes(weights: Weights) -> dict[str, int]:
    """Return ``width`` and ``depth`` of the decoder in the file; those of the published one if there is none."""
    if not has_decoder(weights):
        return dict(PUBLISHED_DECODER)
    width, _ = shape_of(weights, "decoder.embed.weight", 2)
    return {"width": width, "depth": block_count(weights, "decoder")}


def has_decoder(weights: Weights) -> bool:
    """Return whether the file holds a decoder or a part of one."""
    return any(name.startswith("decoder.") for name in weights.state)


def block_count(weights: Weights, trunk: str) -> int:
    """Return the number of blocks below ``trunk``.

    The blocks are counted, whatever their numbers are. If one is missing, the check of names finds that the last block
    is unexpected.
    """
    prefix = f"{trunk}.blocks."
    return len({name.removeprefix(prefix).split(".")[0] for name in weights.state if name.startswith(prefix)})


def shape_of(weights: Weights, name: str, dims: int) -> tuple[int, ...]:
    """Return the shape of a tensor; WeightsError if it is empty or does not have ``dims`` dimensions."""
    tensor = weights.state[name]
    if tensor.ndim != dims or not tensor.numel():
        raise WeightsError(
            f"{weights.source}: {name_in_file(weights, name)} is {list(tensor.shape)}: expected {dims} dimensions, none"
            " of size 0"
        )
    return tuple(tensor.shape)


def name_in_file(weights: Weights, name: str) -> str:
    """Return the name of a tensor in the file, given its name in this project."""
    return official_name(name) if weights.official else name
