"""What no tensor of a file shows: attention heads, pixel statistics, mask ratio, whether targets are normalised.

Files of this project store these facts (under :data:`dmaelab.weights.files.FACTS`). Files of others do not: there the
heads follow from the published models, and the pixel statistics have to be given.
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
# By (width, depth): ViT-B, L, H. ViT-Ti and ViT-S are missing: theirs are 3 and 6, but MAE-Lite's and MoCo v3's 12.
_PUBLISHED_HEADS = {(768, 12): 12, (1024, 24): 16, (1280, 32): 16}
_PUBLISHED_DECODER_HEADS = 16


def facts_of(model: nn.Module) -> dict[str, Any]:
    """Return the facts of a model as plain values, as its file stores them; empty for a model without a ViT."""
    vit = _vit_of(model)
    if vit is None:
        return {}
    facts: dict[str, Any] = {"num_heads": _num_heads(vit)}
    if isinstance(model, DenoisingMAE):
        facts |= {"mask_ratio": model.mask_ratio, "norm_pix": model.norm_pix}
        facts |= {"decoder_num_heads": _num_heads(model.decoder)} if isinstance(model.decoder, MAEDecoder) else {}
    return facts


def describe(model: DenoisingMAE | Classifier) -> str:
    """Return one line on a model with a ViT: kind, sizes, heads."""
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
    """Return the attention heads of a part of the model, ``"encoder"``, ``"backbone"`` or ``"decoder"``.

    They are what the file tells or what is given. Without either, a file with official names has those of the published
    model of its size; at another size width / 64 (16 in a decoder) are taken, with a line in the log. A decoder that
    the file does not hold gets the published heads.

    Raises:
        WeightsError: the heads are not known, are given otherwise than the file tells, or do not divide the width.
    """
    argument = "decoder_num_heads" if part == "decoder" else "num_heads"
    stored = weights.facts.get(argument) if part != "decoder" or has_decoder(weights) else None
    if stored is not None and given is not None and given != stored:
        raise WeightsError(
            f"{weights.source}: was trained with {argument} {stored}, and {given} is given: leave it out"
        )
    published = _published_heads(weights, part)
    known = next((heads for heads in (given, stored, published) if heads is not None), None)
    heads = _guessed_heads(weights, part, width) if known is None else known
    if heads is None:
        raise WeightsError(
            f"{weights.source}: no tensor shows the attention heads, and width {width} does not tell them: pass"
            f" {argument}"
        )
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise WeightsError(
            f"{weights.source}: {argument} {heads} does not divide width {width}: pass the {argument} that it was"
            " trained with"
        )
    if known is None:
        logger.warning(
            "%s: %s is taken to be %d for width %d: pass it if it was trained with another",
            weights.source,
            argument,
            heads,
            width,
        )
    elif stored is None and published not in (None, heads):
        logger.warning(
            "%s: %s %d is given, and the published model of this size has %d",
            weights.source,
            argument,
            heads,
            published,
        )
    return heads


def known_heads(weights: Weights) -> dict[str, Any]:
    """Return the attention heads, by argument, that a file tells or that were published for its sizes."""
    parts = {"num_heads": "backbone" if weights.kind == "classifier" else "encoder"}
    parts |= {"decoder_num_heads": "decoder"} if has_decoder(weights) else {}
    known = {name: weights.facts.get(name, _published_heads(weights, part)) for name, part in parts.items()}
    return {name: heads for name, heads in known.items() if heads is not None}


def check_heads(known: Mapping[str, Any], model: nn.Module, source: str) -> None:
    """Raise WeightsError where the attention heads of a file are known and ``model`` has others."""
    own = facts_of(model)
    for name in ("num_heads", "decoder_num_heads"):
        if name in known and known[name] != own.get(name, known[name]):
            raise WeightsError(
                f"{source}: trained with {name} {known[name]}, and the model has {own[name]}: set {name} to"
                f" {known[name]}"
            )


def choose_statistics(
    weights: Weights, pixel_mean: Sequence[float] | str | None, pixel_std: Sequence[float] | None, channels: int
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in [0,1] pixel units.

    They are what is given (numbers, or one name for both, see :data:`STATISTICS`) or else what the file stores. There
    is no default, since a CIFAR file looks like an ImageNet one.

    Raises:
        WeightsError: nothing is given and nothing stored, or what is given makes no sense or is not what the file
            stores.
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
        raise WeightsError("pixel_mean and pixel_std come together: give both, or a name as pixel_mean")
    elif pixel_mean is None:
        pixel_mean, pixel_std = stored
    if pixel_mean is None or pixel_std is None:
        raise WeightsError(
            f"{weights.source}: stores no pixel statistics, and a CIFAR file looks like an ImageNet one:"
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
            f"{source}: stores {name} {kept}, and {given} is given: leave it out"
            " (to change it on purpose, replace the preprocess of the loaded model)"
        )


def _numbers(values: Any) -> list[float]:
    """Return a sequence as numbers; empty if it is none."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []


def _stored(weights: Weights, name: str) -> Any:
    buffer = weights.state.get(f"preprocess.{name}")
    return weights.facts.get(name) if buffer is None else buffer.flatten().tolist()


def _published_heads(weights: Weights, part: str) -> int | None:
    """Return the heads of the published model that a part has the size of; None for other sizes and for our names."""
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
    """Return the usual heads of files of others; None where there is no custom, and for files of this project."""
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
