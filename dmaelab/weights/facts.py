"""What a file of weights says about its model: sizes by the shapes of the tensors, the rest beside them or by
convention.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dmaelab.modeling.backbones.vit import ViT
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.decoder import MAEDecoder
from dmaelab.modeling.denoising_mae import DenoisingMAE
from dmaelab.weights.files import Weights, WeightsError
from dmaelab.weights.layouts import official_name

logger = logging.getLogger("dmaelab")

STATISTICS = {  # per channel, in [0,1] pixel units: those of the official code
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]),
}
# By (width, depth): ViT-B, L, H. Not those of ViT-Ti and ViT-S (3 and 6): MAE-Lite's and MoCo v3's have 12.
_PUBLISHED_HEADS = {(768, 12): 12, (1024, 24): 16, (1280, 32): 16}
_PUBLISHED_DECODER = 512, 8, 16  # width, depth, heads


def facts_of(model: nn.Module) -> dict[str, Any]:
    """Return what a model is beyond its tensors, as plain values: what :data:`FACTS` of a file holds. Empty without a
    ViT.
    """
    trunk: Any = getattr(model, "encoder", None) or getattr(model, "backbone", None)
    if not isinstance(trunk, ViT):
        return {}
    facts: dict[str, Any] = {"num_heads": _num_heads(trunk)}
    if isinstance(model, DenoisingMAE):
        facts |= {"mask_ratio": model.mask_ratio, "norm_pix": model.norm_pix}
        facts |= {"decoder_num_heads": _num_heads(model.decoder)} if isinstance(model.decoder, MAEDecoder) else {}
    return facts


def describe(model: DenoisingMAE | Classifier) -> str:
    """Return one line on a model with a ViT: kind, sizes, heads."""
    vit: Any = model.encoder if isinstance(model, DenoisingMAE) else model.backbone
    sizes = f"ViT {vit.num_features} wide, {len(vit.blocks)} blocks, {_num_heads(vit)} heads"
    images = (
        f"{vit.in_channels}x{vit.input_size}x{vit.input_size} images in patches of {vit.patch_size}x{vit.patch_size}"
    )
    if isinstance(model, Classifier):
        probe = ", batch norm before the head" if isinstance(model.head, nn.Sequential) else ""
        return f"classifier: {sizes}; {images}; pool {vit.pool}, {model.num_classes} classes{probe}"
    decoder: Any = model.decoder
    rest = (
        "no decoder" if decoder.is_new else f"decoder {decoder.embed.out_features} wide, {len(decoder.blocks)} blocks"
    )
    return f"autoencoder: {sizes}; {images}; {rest}" + ("" if decoder.is_new else f", {_num_heads(decoder)} heads")


def vit_options(weights: Weights, trunk: str, num_heads: int | None) -> dict[str, Any]:
    """Return the arguments of :class:`ViT`, but for its pool, by the tensors below ``trunk`` (``"encoder"``,
    ``"backbone"``).

    ``num_heads`` shows in no tensor: it is what the file says or what is given. Without either, a file with official
    names has those of the published model of its size, or else width / 64 with a line in the log; ours is refused.

    Raises:
        WeightsError: a tensor has an impossible shape, or the heads are not known, are given otherwise than the file
            says, or do not divide the width.
    """
    width, channels, patch_size, _ = shape_of(weights, f"{trunk}.patch_embed.proj.weight", 4)
    _, length, _ = shape_of(weights, f"{trunk}.pos_embed", 3)
    hidden, _ = shape_of(weights, f"{trunk}.blocks.0.mlp.fc1.weight", 2)
    grid, depth = math.isqrt(length - 1), block_count(weights, trunk)
    if grid == 0 or grid**2 != length - 1:
        raise WeightsError(
            f"{weights.source}: {shown(weights, f'{trunk}.pos_embed')} has {length} rows: not a class token and a"
            " square of patches"
        )
    published = _published_heads(weights, trunk)
    guess = width // 64 if weights.official and width % 64 == 0 else None
    heads = _heads(weights, "num_heads", num_heads, width, published, guess)
    return {
        "width": width, "depth": depth, "num_heads": heads, "image_size": grid * patch_size, "patch_size": patch_size,
        "in_channels": channels, "mlp_ratio": hidden / width,
    }  # fmt: skip


def decoder_options(weights: Weights, num_heads: int | None) -> dict[str, int]:
    """Return the arguments of :class:`MAEDecoder`, but for its encoder, by the tensors; the published ones where there
    are none.
    """
    width, depth, usual = _PUBLISHED_DECODER
    published: int | None = usual
    if has_decoder(weights):
        width, _ = shape_of(weights, "decoder.embed.weight", 2)
        depth, published = block_count(weights, "decoder"), _published_heads(weights, "decoder")
    heads = _heads(weights, "decoder_num_heads", num_heads, width, published, usual if weights.official else None)
    return {"width": width, "depth": depth, "num_heads": heads}


def has_decoder(weights: Weights) -> bool:
    """Return whether there is a decoder in the file, or a part of one."""
    return any(name.startswith("decoder.") for name in weights.state)


def known_heads(weights: Weights) -> dict[str, Any]:
    """Return the attention heads of the parts that a file holds, by argument: as it tells them, or as its sizes were
    published.
    """
    parts = {"num_heads": "backbone" if weights.kind == "classifier" else "encoder"}
    parts |= {"decoder_num_heads": "decoder"} if has_decoder(weights) else {}
    known = {name: weights.facts.get(name, _published_heads(weights, part)) for name, part in parts.items()}
    return {name: heads for name, heads in known.items() if heads is not None}


def check_heads(known: Mapping[str, Any], model: nn.Module, source: str) -> None:
    """Raise WeightsError where the attention heads of a file, which no tensor shows, are known and ``model`` has
    others.
    """
    own = facts_of(model)
    for name in ("num_heads", "decoder_num_heads"):
        if name in known and known[name] != own.get(name, known[name]):
            raise WeightsError(
                f"{source}: trained with {name} {known[name]}, and the model has {own[name]}: set {name} to"
                f" {known[name]}"
            )


def block_count(weights: Weights, trunk: str) -> int:
    """Return the number of blocks below ``trunk``: as many as there are, so that a gap shows as missing names."""
    prefix = f"{trunk}.blocks."
    return len({name.removeprefix(prefix).split(".")[0] for name in weights.state if name.startswith(prefix)})


def pixel_statistics(
    weights: Weights, pixel_mean: Sequence[float] | str | None, pixel_std: Sequence[float] | None, channels: int
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, in [0,1] pixel units: as given, by a name for both, or what the
    file stores.

    Raises:
        WeightsError: nothing is given and nothing stored (there is no safe default: a CIFAR file looks like an ImageNet
            one), or what is given makes no sense, or is not what the file stores.
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
        kept = [round(value, 6) for value in _numbers(values)]
        if values is not None and (
            len(kept) != channels or any(abs(a - b) > 1e-4 for a, b in zip(given, kept, strict=True))
        ):
            raise WeightsError(
                f"{weights.source}: stores {name} {kept}, and {given} is given: leave it out"
                " (to change it on purpose, replace the preprocess of the loaded model)"
            )
    return mean, std


def shown(weights: Weights, name: str) -> str:
    """Return the name that the file has for one of our tensors."""
    return official_name(name) if weights.official else name


def shape_of(weights: Weights, name: str, dims: int) -> tuple[int, ...]:
    """Return the shape of a tensor that there is; WeightsError if it has not ``dims`` dimensions, none of size 0."""
    tensor = weights.state[name]
    if tensor.ndim != dims or not tensor.numel():
        raise WeightsError(
            f"{weights.source}: {shown(weights, name)} is {list(tensor.shape)}: expected {dims} dimensions, none of"
            " size 0"
        )
    return tuple(tensor.shape)


def _numbers(values: Any) -> list[float]:
    """Return a sequence as numbers; empty if it is none."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []


def _stored(weights: Weights, name: str) -> Any:
    buffer = weights.state.get(f"preprocess.{name}")
    return weights.facts.get(name) if buffer is None else buffer.flatten().tolist()


def _heads(
    weights: Weights, argument: str, given: int | None, width: int, published: int | None, guess: int | None
) -> int:
    stored = (
        weights.facts.get(argument) if argument == "num_heads" or has_decoder(weights) else None
    )  # a new one is another
    if stored is not None and given is not None and given != stored:
        raise WeightsError(
            f"{weights.source}: was trained with {argument} {stored}, and {given} is given: leave it out"
        )
    known = next((heads for heads in (given, stored, published) if heads is not None), None)
    heads = guess if known is None else known
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


def _published_heads(weights: Weights, part: str) -> int | None:
    """Return the heads of the published model that has the size of a part of a file with official names; None where
    there is none.
    """
    name = "decoder.embed.weight" if part == "decoder" else f"{part}.patch_embed.proj.weight"
    if not weights.official or name not in weights.state:
        return None
    size = len(weights.state[name]), block_count(weights, part)
    if part == "decoder":
        return _PUBLISHED_DECODER[2] if size == _PUBLISHED_DECODER[:2] else None
    return _PUBLISHED_HEADS.get(size)


def _num_heads(transformer: Any) -> int:
    return transformer.blocks[0].attn.num_heads
