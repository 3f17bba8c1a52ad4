"""Facts that no tensor of a file shows: attention heads, pixel statistics, mask ratio, normalisation of targets.

Files of this project store these facts (under :data:`dmaelab.weights.files.FACTS`). Other files do not. For them the
number of heads is that of the published model of the same size, and the pixel statistics must be given.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import nn

from dmaelab.modeling.backbones.vit import ViT
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.decoder import MAEDecoder
from dmaelab.modeling.denoising_mae import DenoisingMAE
from dmaelab.modeling.layers import Block
from dmaelab.weights.files import Weights, WeightsError
from dmaelab.weights.sizes import PUBLISHED_DECODER, block_count, has_decoder

logger = logging.getLogger("dmaelab")

STATISTICS = {  # per channel, in [0,1] pixel units: those of the official code
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]),
}
# By (width, depth): ViT-B, L, H. ViT-Ti and ViT-S are missing, because their heads are ambiguous: usually 3 and 6, but
# 12 in MAE-Lite's ViT-Ti and MoCo v3's ViT-S.
_PUBLISHED_HEADS = {(768, 12): 12, (1024, 24): 16, (1280, 32): 16}
_PUBLISHED_DECODER_HEADS = 16


def facts_of(model: nn.Module) -> dict[str, Any]:
    """Return the facts of a model as plain values, which its file stores; empty for a model without a ViT."""
    vit = _vit_of(model)
    if vit is None:
        return {}
    facts: dict[str, Any] = {"num_heads": _num_heads(vit)}
    if isinstance(model, DenoisingMAE):
        facts |= {"mask_ratio": model.mask_ratio, "norm_pix": model.norm_pix}
        facts |= {"decoder_num_heads": _num_heads(model.decoder)} if isinstance(model.decoder, MAEDecoder) else {}
    return facts


def describe(model: DenoisingMAE | Classifier) -> str:
    """Return a one-line description of a model with a ViT: kind, sizes, heads."""
    vit = cast(ViT, _vit_of(model))
    sizes = f"ViT {vit.num_features} wide, {len(vit.blocks)} blocks, {_num_heads(vit)} heads"
    images = (
        f"{vit.in_channels}x{vit.input_size}x{vit.input_size} images in patches of {vit.patch_size}x{vit.patch_size}"
    )
    if isinstance(model, Classifier):
        probe = ", batch norm before the head" if isinstance(model.head, nn.Sequential) else ""
        return f"classifier: {sizes}; {images}; pool {vit.pool}, {model.num_classes} classes{probe}"
    decoder = cast(MAEDecoder, model.decoder)
    if decoder.is_new:
        return f"autoencoder: {sizes}; {images}; no decoder"
    rest = f"decoder {decoder.embed.out_features} wide, {len(decoder.blocks)} blocks, {_num_heads(decoder)} heads"
    return f"autoencoder: {sizes}; {images}; {rest}"


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


def choose_statistics(
    weights: Weights, pixel_mean: Sequence[float] | str | None, pixel_std: Sequence[float] | None, channels: int
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in [0,1] pixel units.

    They are those that are given, or else those that the file stores. There is no default, because nothing in a file
    tells whether it was trained on CIFAR or on ImageNet.

    Args:
        weights: weights of the file.
        pixel_mean: mean per channel, or one name for both from :data:`STATISTICS`; None takes the file's.
        pixel_std: standard deviation per channel; None if ``pixel_mean`` is a name or None.
        channels: number of channels.

    Raises:
        WeightsError: nothing is given and nothing is stored, the values are invalid, or they are not those that the
            file stores.
    """
    stored = _stored(weights, "pixel_mean"), _stored(weights, "pixel_std")
    names = " or ".join(f'"{name}"' for name in STATISTICS)
    if isinstance(pixel_mean, str):
        if pixel_mean not in STATISTICS or pixel_std is not None:
            raise WeightsError(
                f"pixel_mean is '{pixel_mean}': give {names} alone, or numbers for pixel_mean and pixel_std"
            )
        pixel_mean, pixel_std = STATISTICS[pixel_mean]
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


def _vit_of(model: nn.Module) -> ViT | None:
    trunk: Any = None
    if isinstance(model, DenoisingMAE):
        trunk = model.encoder
    elif isinstance(model, Classifier):
        trunk = model.backbone
    return trunk if isinstance(trunk, ViT) else None


def _num_heads(transformer: ViT | MAEDecoder) -> int:
    return cast(Block, transformer.blocks[0]).attn.num_heads
