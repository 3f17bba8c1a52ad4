"""Fill an existing model with tensors: those of the same model, or those of an earlier training stage."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from dmaelab.interfaces import Trainable
from dmaelab.modeling.denoising_mae import DenoisingMAE
from dmaelab.modeling.pos_embed import resize_table
from dmaelab.weights.facts import encoder_of
from dmaelab.weights.files import Source, WeightsError, read_weights
from dmaelab.weights.heads import check_heads, known_heads


def fill_exact(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Fill ``module`` with a state dict that has the same names and shapes, including the pixel statistics.

    Args:
        module: the module to fill.
        state: tensors by name.
        source: where the state comes from, for error messages.

    Raises:
        WeightsError: names or shapes differ; the message names the first difference.
    """
    own = module.state_dict()
    _refuse_difference([name for name in own if name not in state], [name for name in state if name not in own], source)
    check_tensors(own, state, source)
    module.load_state_dict(state)


def check_tensors(own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    """Raise WeightsError for the first common tensor whose shape differs, or of which only one has integers."""
    for name, value in own.items():
        if name in given and given[name].shape != value.shape:
            shapes = f"{list(given[name].shape)} in the file and {list(value.shape)} in the model"
            raise WeightsError(f"{source}: weights of another architecture: {name} is {shapes}")
        if name in given and given[name].is_floating_point() != value.is_floating_point():
            raise WeightsError(
                f"{source}: {name} has the dtype {given[name].dtype}, but in the model it has {value.dtype}"
            )


@dataclass
class FillReport:
    """What :func:`fill_pretrained` did, as lists of the names of tensors."""

    loaded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)  # in the model but not in the file: they keep their initial values
    dropped: list[str] = field(default_factory=list)  # in the file but not in the model
    resized: list[str] = field(default_factory=list)  # position embeddings interpolated to the model's grid

    def __str__(self) -> str:
        def count(names: list[str]) -> str:
            roots = sorted({".".join(name.split(".")[:2]) for name in names})
            return f"{len(names)} ({', '.join(roots[:4])}{', ...' if len(roots) > 4 else ''})" if names else "0"

        line = f"loaded {len(self.loaded)} tensors, new {count(self.new)}, dropped {count(self.dropped)}"
        return f"{line}, interpolated {', '.join(self.resized)}" if self.resized else line


def fill_pretrained(model: Trainable, path_or_dict: Source) -> FillReport:
    """Fill the module that ``model`` exports with the weights of an earlier training stage.

    * A classifier takes the encoder of an autoencoder. The decoder is dropped and the head is new. The backbone says
      what else may be new or dropped (:class:`~dmaelab.modeling.PatchEncoder`); for a ViT with average pooling
      ``fc_norm`` is new and the final norm is dropped.
    * An autoencoder takes an encoder alone and keeps its new decoder.
    * If model and file are of the same kind, all names must match.

    Position embeddings of another grid are interpolated. The pixel statistics stay those of the model, because they
    belong to the data and not to the weights. The file may have this project's names or the official ones.

    Raises:
        WeightsError: :func:`read_weights` raises it, a tensor does not fit (the message names the first), or the model
            has another number of heads than the file stores or the published model of this size has.
    """
    weights, target = read_weights(path_or_dict), model.export()
    own, given = _without_statistics(target.state_dict()), _without_statistics(weights.state)
    may_be_new: tuple[str, ...] = ()
    may_drop: tuple[str, ...] = ()
    if _has(given, "encoder.") and not _has(own, "encoder."):  # of an autoencoder, for a classifier
        may_be_new, may_drop = ("head.",), ("decoder.",)
        if (backbone := encoder_of(target)) is not None:
            may_be_new += tuple(f"backbone.{name}" for name in backbone.new_in_classifier)
            may_drop += tuple(f"backbone.{name}" for name in backbone.dropped_in_classifier)
        given = {_in_backbone(name): value for name, value in given.items()}
    elif _has(given, "encoder.") and not _has(given, "decoder."):  # of an encoder alone, for an autoencoder
        may_be_new = ("decoder.",)
    resized = _fit_positions(target, own, given)
    report = FillReport(
        loaded=[name for name in own if name in given],
        new=[name for name in own if name not in given],
        dropped=[name for name in given if name not in own],
        resized=resized,
    )
    _refuse_difference(
        [name for name in report.new if not name.startswith(may_be_new)],
        [name for name in report.dropped if not name.startswith(may_drop)],
        weights.source,
    )
    check_tensors(own, given, weights.source)
    check_heads(known_heads(weights), target, weights.source)
    target.load_state_dict({name: given[name] for name in report.loaded}, strict=False)
    return report


def _refuse_difference(missing: list[str], unexpected: list[str], source: str) -> None:
    """Raise WeightsError for the first name that only the model has (``missing``) or only the file (``unexpected``)."""
    for name in missing:
        raise WeightsError(f"{source}: weights of another architecture: {name} is in the model and not in the file")
    for name in unexpected:
        raise WeightsError(f"{source}: weights of another architecture: {name} is in the file and not in the model")


def _without_statistics(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("preprocess.")}


def _has(state: Mapping[str, Tensor], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in state)


def _in_backbone(name: str) -> str:
    return f"backbone.{name.removeprefix('encoder.')}" if name.startswith("encoder.") else name


def _fit_positions(target: nn.Module, own: Mapping[str, Tensor], given: dict[str, Tensor]) -> list[str]:
    """Interpolate the position tables of ``given``, in place, that differ from the model's only in their grid.

    Returns:
        A text for each of them, such as ``"encoder.pos_embed 14x14 -> 16x16"``.
    """
    resized = []
    for name, new in _position_tables(target).items():
        if name not in own or name not in given or not own[name].ndim == given[name].ndim == 3:
            continue
        (_, rows, width), table = own[name].shape, given[name]
        prefix = rows - new * new
        old = math.isqrt(max(table.shape[1] - prefix, 0))
        if prefix >= 0 and old not in (0, new) and table.shape == (1, prefix + old * old, width):
            given[name] = resize_table(table, new, prefix)
            resized.append(f"{name} {old}x{old} -> {new}x{new}")
    return resized


def _position_tables(target: nn.Module) -> dict[str, int]:
    """Return the names of the position tables in the state of an autoencoder or a classifier, and their grids."""
    encoder = encoder_of(target)
    if encoder is None:
        return {}
    if not isinstance(target, DenoisingMAE):
        return {f"backbone.{encoder.position_table}": encoder.grid}
    names = f"encoder.{encoder.position_table}", f"decoder.{target.decoder.position_table}"
    return dict.fromkeys(names, encoder.grid)
