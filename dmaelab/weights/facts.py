"""Facts of a model that none of its tensors shows: attention heads, mask ratio, normalisation of targets, class names.

Files of this project store them under :data:`dmaelab.weights.files.FACTS`.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from dmaelab.modeling.backbones.vit import ViT
from dmaelab.modeling.base import Backbone, PatchDecoder, PatchEncoder
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.decoder import MAEDecoder
from dmaelab.modeling.denoising_mae import DenoisingMAE
from dmaelab.weights.files import WeightsError

CLASSES = "classes"
"""The fact that holds the names of the classes of a classifier, in label order."""


def encoder_of(model: nn.Module) -> PatchEncoder | None:
    """Return the encoder of an autoencoder, or the backbone of a classifier if it is a :class:`PatchEncoder`."""
    backbone: Any = None
    if isinstance(model, DenoisingMAE):
        backbone = model.encoder
    elif isinstance(model, Classifier):
        backbone = model.backbone
    return backbone if isinstance(backbone, PatchEncoder) else None


def facts_of(model: nn.Module) -> dict[str, Any]:
    """Return the facts of a model as plain values, which its file stores; empty for a model that has none."""
    encoder = encoder_of(model)
    facts: dict[str, Any] = {"num_heads": encoder.num_heads} if encoder is not None else {}
    if isinstance(model, DenoisingMAE):
        facts |= {"mask_ratio": model.mask_ratio, "norm_pix": model.norm_pix}
        facts |= {"decoder_num_heads": model.decoder.num_heads}
    facts[CLASSES] = class_names_of(model)
    return {name: value for name, value in facts.items() if value is not None}


def class_names_of(model: nn.Module) -> list[str] | None:
    """Return the ``class_names`` of a classifier; None for other models, and if the names are not known."""
    names = getattr(model, "class_names", None)
    if not isinstance(names, (list, tuple)) or len(names) != getattr(model, "num_classes", None):
        return None
    return [str(name) for name in names]


def name_classes(model: Any, facts: Mapping[str, Any], source: str) -> None:
    """Set the ``class_names`` of a classifier to those that its file stores, if there are any.

    Args:
        model: a module; one without ``num_classes`` is no classifier, and is left alone.
        facts: the facts in the file.
        source: name of the file, for error messages.

    Raises:
        WeightsError: the stored names are not one text for each class.
    """
    names, count = class_names_in(facts, source), getattr(model, "num_classes", None)
    if names is None or count is None:
        return
    if len(names) != count:
        raise WeightsError(f"{source}: its fact '{CLASSES}' has {len(names)} names, but its head has {count} classes")
    model.class_names = names


def class_names_in(facts: Mapping[str, Any], source: str) -> list[str] | None:
    """Return the class names that a file stores, in label order; None if it stores none.

    Raises:
        WeightsError: they are not a list of text.
    """
    names = facts.get(CLASSES)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise WeightsError(f"{source}: its fact '{CLASSES}' is not a list of names")
    return names


def describe(model: nn.Module) -> str:
    """Return a one-line description of a model: kind, sizes, heads."""
    if isinstance(model, DenoisingMAE):
        return f"autoencoder: {_backbone(model.encoder)}; {_decoder(model.decoder)}"
    if isinstance(model, Classifier):
        pool = f"pool {model.backbone.pool}, " if isinstance(model.backbone, PatchEncoder) else ""
        probe = ", batch norm before the head" if isinstance(model.head, nn.Sequential) else ""
        return f"classifier: {_backbone(model.backbone)}; {pool}{model.num_classes} classes{probe}"
    return type(model).__name__


def _backbone(backbone: Backbone) -> str:
    text = f"{type(backbone).__name__} {backbone.num_features} wide"
    if isinstance(backbone, ViT):
        text += f", {len(backbone.blocks)} blocks"
    if isinstance(backbone, PatchEncoder):
        size, patch = backbone.input_size, backbone.patch_size
        text += "" if backbone.num_heads is None else f", {backbone.num_heads} heads"
        text += f"; {backbone.in_channels}x{size}x{size} images in patches of {patch}x{patch}"
    return text


def _decoder(decoder: PatchDecoder) -> str:
    if decoder.is_new:
        return "no decoder"
    if isinstance(decoder, MAEDecoder):
        sizes = f"{decoder.embed.out_features} wide, {len(decoder.blocks)} blocks, {decoder.num_heads} heads"
        return f"decoder {sizes}"
    return f"decoder {type(decoder).__name__}"
