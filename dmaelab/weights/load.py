"""Load a file into a new model, whose sizes are read off the shapes of the tensors."""

import functools
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dmaelab.losses import MSEAllPatches
from dmaelab.modeling.backbones.vit import ViT
from dmaelab.modeling.base import PatchEncoder
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.decoder import MAEDecoder
from dmaelab.modeling.denoising_mae import DenoisingMAE
from dmaelab.utils.random import Draw
from dmaelab.weights.facts import name_classes
from dmaelab.weights.files import Source, Weights, WeightsError, read_weights
from dmaelab.weights.fill import check_tensors
from dmaelab.weights.heads import choose_heads
from dmaelab.weights.sizes import block_count, decoder_sizes, has_decoder, name_in_file, shape_of, vit_sizes
from dmaelab.weights.statistics import choose_statistics

logger = logging.getLogger("dmaelab")


def load_pretrain(
    path_or_dict: Source,
    *,
    num_heads: int | None = None,
    decoder_num_heads: int | None = None,
    pixel_mean: Sequence[float] | str | None = None,
    pixel_std: Sequence[float] | None = None,
) -> DenoisingMAE:
    """Return the autoencoder of a DMAE or MAE pre-training file, on the CPU, in evaluation mode, without corruption.

    It resizes images of any size to its own. Mask ratio and target normalisation are those that the file stores, by
    default those of the released models: mask ratio 0.75, targets normalised per patch. The loss is over all patches.
    If the file holds only an encoder, the model gets an untrained decoder of the published size (width 512, 8 blocks),
    and a warning is given.

    Args:
        path_or_dict: a file (a released one, one of the official trainers, MAE's, timm's, ``.safetensors``, or one of a
            run of this project), or the dictionary that was read from it.
        num_heads, decoder_num_heads: numbers of attention heads, if the file does not store them; by default those of
            the published model, see :func:`dmaelab.weights.heads.choose_heads`.
        pixel_mean, pixel_std: one number per channel, in [0,1] pixel units, or ``pixel_mean="imagenet"`` or
            ``"cifar10"`` for both. They must be given if the file stores none; official files store none.

    Raises:
        WeightsError: the file cannot be read or holds a classifier; tensors are missing or unexpected; heads or
            statistics are neither stored nor given, or are not those that the file stores.
    """
    weights = read_weights(path_or_dict)
    _expect(weights, "autoencoder")
    _check_whole(weights, _autoencoder(_skeleton(weights, "encoder"), _skeleton(weights, "decoder")))
    options = _vit_options(weights, "encoder", num_heads)
    decoder = decoder_sizes(weights)
    decoder["num_heads"] = choose_heads(weights, "decoder", decoder["width"], decoder_num_heads)
    mean, std = choose_statistics(weights, pixel_mean, pixel_std, options["in_channels"])
    recipe = {name: weights.facts[name] for name in ("mask_ratio", "norm_pix") if name in weights.facts}
    model = _autoencoder(options, decoder, **recipe)
    if has_decoder(weights):
        _fill(model, weights.state, mean, std, weights.source)
        return model
    _fill(model, {**weights.state, **_new_decoder(model.encoder, decoder)}, mean, std, weights.source)
    model.decoder.is_new = True
    warnings.warn(
        f"{weights.source}: holds an encoder only; its decoder is new and must be trained before it can reconstruct",
        stacklevel=2,
    )
    return model


def load_classifier(
    path_or_dict: Source,
    *,
    num_heads: int | None = None,
    pool: Literal["auto", "gap", "cls"] = "auto",
    pixel_mean: Sequence[float] | str | None = None,
    pixel_std: Sequence[float] | None = None,
) -> Classifier:
    """Return the classifier of a fine-tuning or linear-probe file, on the CPU, in evaluation mode.

    The other arguments and the errors are those of :func:`load_pretrain`. The batch norm before the head of a linear
    probe is recognised by its names. If the file stores the names of the classes, they are in ``class_names``.

    Args:
        pool: how tokens are pooled: ``"gap"`` (average), ``"cls"`` (class token), or ``"auto"``, which means average
            pooling for a file with ``fc_norm`` and the class token for a file with ``norm``. In the latter case a
            warning is logged for files of others: timm's models with ``global_pool="avg", fc_norm=False`` have the same
            names, but this project cannot represent them.
    """
    weights = read_weights(path_or_dict)
    _expect(weights, "classifier")
    if pool not in ("auto", "gap", "cls"):
        raise WeightsError(f"pool is '{pool}': choose 'auto', 'gap' or 'cls'")
    if pool == "auto":
        pool = "gap" if "backbone.fc_norm.weight" in weights.state else "cls"
        if pool == "cls" and weights.official and "num_heads" not in weights.facts:
            logger.warning(
                "%s: class token assumed, but timm's models that average without fc_norm have the same names (pass"
                " pool='cls' to confirm)",
                weights.source,
            )
    head = "bn_linear" if any(name.startswith("head.1.") for name in weights.state) else "linear"
    _check_whole(weights, _classifier(_skeleton(weights, "backbone"), pool, head, 2))
    options = _vit_options(weights, "backbone", num_heads)
    mean, std = choose_statistics(weights, pixel_mean, pixel_std, options["in_channels"])
    (classes,) = shape_of(weights, "head.bias" if head == "linear" else "head.1.bias", 1)
    model = _classifier(options, pool, head, classes)
    _fill(model, weights.state, mean, std, weights.source)
    name_classes(model, weights.facts, weights.source)
    return model


def _vit_options(weights: Weights, trunk: str, num_heads: int | None) -> dict[str, Any]:
    """Return all arguments of the ViT below ``trunk``, except ``pool``."""
    sizes = vit_sizes(weights, trunk)
    return {**sizes, "num_heads": choose_heads(weights, trunk, int(sizes["width"]), num_heads)}


def _new_decoder(encoder: PatchEncoder, options: dict[str, int]) -> dict[str, Tensor]:
    """Return the tensors of a decoder with random weights from a fixed seed, named as in the autoencoder."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(Draw(0, "init").seed())  # torch.manual_seed would also seed the GPUs
        decoder = MAEDecoder(encoder, **options)
    return {f"decoder.{name}": value for name, value in decoder.state_dict().items()}


def _autoencoder(encoder: dict[str, Any], decoder: dict[str, Any], **recipe: Any) -> DenoisingMAE:
    """Return an autoencoder on the meta device, where tensors have shapes but no values."""
    with torch.device("meta"):
        vit = ViT(**encoder, pool=None)
        make: Any = functools.partial(MAEDecoder, **decoder)
        blank = [0.5] * vit.in_channels
        return DenoisingMAE(vit, make, None, MSEAllPatches(), blank, blank, **recipe, input_size=vit.input_size)


def _classifier(backbone: dict[str, Any], pool: Any, head: Any, num_classes: int) -> Classifier:
    """Return a classifier on the meta device."""
    with torch.device("meta"):
        vit = ViT(**backbone, pool=pool)
        blank = [0.5] * vit.in_channels
        return Classifier(vit, num_classes, blank, blank, input_size=vit.input_size, head=head)


def _skeleton(weights: Weights, trunk: str) -> dict[str, int]:
    """Return the arguments of the smallest model with as many blocks below ``trunk``: it has the same tensor names."""
    smallest = {"width": 4, "depth": max(block_count(weights, trunk), 1), "num_heads": 1}
    return smallest if trunk == "decoder" else {**smallest, "image_size": 2, "patch_size": 1}


def _expect(weights: Weights, kind: str) -> None:
    """Raise WeightsError if the weights are of another kind of model than ``kind``."""
    if weights.kind == kind:
        return
    if weights.kind == "unknown":
        names = ", ".join(list(weights.state)[:3])
        raise WeightsError(
            f"{weights.source}: not the weights of a vision transformer of DMAE, MAE, timm or this project (it holds"
            f" {names}, ...)"
        )
    here, there = (
        ("a classifier", "load_classifier")
        if weights.kind == "classifier"
        else ("an autoencoder or encoder", "load_pretrain")
    )
    raise WeightsError(f"{weights.source}: holds {here}: load it with {there}")


def _check_whole(weights: Weights, model: nn.Module) -> None:
    """Raise WeightsError with all names that only the file or only the model has.

    The file may lack the pixel statistics, and the decoder if it lacks all of it.
    """
    optional = ("preprocess.pixel_", *(() if has_decoder(weights) else ("decoder.",)))
    own = model.state_dict()
    missing = [
        name_in_file(weights, name) for name in own if name not in weights.state and not name.startswith(optional)
    ]
    unexpected = [name_in_file(weights, name) for name in weights.state if name not in own]
    if missing or unexpected:
        parts = [
            f"{text} {', '.join(names)}" for text, names in (("missing", missing), ("unexpected", unexpected)) if names
        ]
        raise WeightsError(f"{weights.source}: not the weights of a whole model: {'; '.join(parts)}")


def _fill(model: nn.Module, state: Mapping[str, Tensor], mean: list[float], std: list[float], source: str) -> None:
    """Check the shapes, move a model from the meta device to the CPU, and fill it."""
    statistics = {"preprocess.pixel_mean": mean, "preprocess.pixel_std": std}
    given = {**state, **{name: torch.tensor(values).view(-1, 1, 1) for name, values in statistics.items()}}
    check_tensors(model.state_dict(), given, source)
    model.to_empty(device="cpu").load_state_dict(given)
    model.eval()
