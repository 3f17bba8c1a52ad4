"""The numbers of attention heads of the model in a file.

Files of this project store them. For other files they are those of the published model of the same size.
"""

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from dmaelab.weights.facts import facts_of
from dmaelab.weights.files import Weights, WeightsError
from dmaelab.weights.sizes import PUBLISHED_DECODER, block_count, has_decoder

logger = logging.getLogger("dmaelab")

# By (width, depth): ViT-B, L, H. ViT-Ti and ViT-S are missing, because their heads are ambiguous: usually 3 and 6, but
# 12 in MAE-Lite's ViT-Ti and MoCo v3's ViT-S.
_PUBLISHED_HEADS = {(768, 12): 12, (1024, 24): 16, (1280, 32): 16}
_PUBLISHED_DECODER_HEADS = 16


def choose_heads(weights: Weights, part: str, width: int, given: int | None) -> int:
    """Return the number of attention heads of a part of the model, ``"encoder"``, ``"backbone"`` or ``"decoder"``.

    It is the number that is given or that the file stores. If there is neither, and the file has official names, it is
    that of the published model of this size. For other sizes it is width / 64 (16 in a decoder), with a warning in the
    log. A decoder that is not in the file gets the published number.

    Args:
        weights: weights of the file.
        part: part of the model.
        width: token width of this part.
        given: the number that the caller asks for, or None.

    Raises:
        WeightsError: the number is not known, is not the one that the file stores, or does not divide the width.
    """
    argument = "decoder_num_heads" if part == "decoder" else "num_heads"
    stored = weights.facts.get(argument) if part != "decoder" or has_decoder(weights) else None
    if stored is not None and given is not None and given != stored:
        raise WeightsError(
            f"{weights.source}: was trained with {argument} {stored}, but {given} is given: leave it out"
        )
    published = _published_heads(weights, part)
    known = next((heads for heads in (given, stored, published) if heads is not None), None)
    heads = _guessed_heads(weights, part, width) if known is None else known
    if heads is None:
        raise WeightsError(
            f"{weights.source}: neither the tensors nor the width {width} tell the number of attention heads: pass"
            f" {argument}"
        )
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise WeightsError(
            f"{weights.source}: {argument} {heads} does not divide width {width}: pass the {argument} that it was"
            " trained with"
        )
    if known is None:
        logger.warning(
            "%s: %s is assumed to be %d for width %d: pass it if the model was trained with another number",
            weights.source,
            argument,
            heads,
            width,
        )
    elif stored is None and published not in (None, heads):
        logger.warning(
            "%s: %s %d is given, but the published model of this size has %d",
            weights.source,
            argument,
            heads,
            published,
        )
    return heads


def known_heads(weights: Weights) -> dict[str, Any]:
    """Return the numbers of heads, by argument name, that a file stores or that published models of its size have."""
    parts = {"num_heads": "backbone" if weights.kind == "classifier" else "encoder"}
    parts |= {"decoder_num_heads": "decoder"} if has_decoder(weights) else {}
    known = {name: weights.facts.get(name, _published_heads(weights, part)) for name, part in parts.items()}
    return {name: heads for name, heads in known.items() if heads is not None}


def check_heads(known: Mapping[str, Any], model: nn.Module, source: str) -> None:
    """Raise WeightsError if a number of heads of a file is known and ``model`` has another."""
    own = facts_of(model)
    for name in ("num_heads", "decoder_num_heads"):
        if name in known and known[name] != own.get(name, known[name]):
            raise WeightsError(
                f"{source}: trained with {name} {known[name]}, but the model has {own[name]}: set {name} to"
                f" {known[name]}"
            )


def _published_heads(weights: Weights, part: str) -> int | None:
    """Return the heads of the published model with the size of a part; None for other sizes and for our own names."""
    if part == "decoder" and not has_decoder(weights):
        return _PUBLISHED_DECODER_HEADS
    name = "decoder.embed.weight" if part == "decoder" else f"{part}.patch_embed.proj.weight"
    if not weights.official or name not in weights.state:
        return None
    size = len(weights.state[name]), block_count(weights, part)
    if part == "decoder":
        return _PUBLISHED_DECODER_HEADS if size == tuple(PUBLISHED_DECODER.values()) else None
    return _PUBLISHED_HEADS.get(size)


def _guessed_heads(weights: Weights, part: str, width: int) -> int | None:
    """Return the usual number of heads in files of others; None if there is none, and for files of this project."""
    if not weights.official:
        return None
    if part == "decoder":
        return _PUBLISHED_DECODER_HEADS
    return width // 64 if width % 64 == 0 else None
