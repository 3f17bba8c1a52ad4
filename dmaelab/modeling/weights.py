"""Weights from files into models: safely, strictly, and with a report of what happened."""

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.utils.errors import UserError


class WeightsError(UserError):
    """A file of weights that cannot be used, or not for this model."""


def load_file(path: str | os.PathLike) -> dict[str, Any]:
    """Return what a checkpoint file holds, on the CPU; no pickled code is ever executed.

    Raises:
        WeightsError: the file is missing, truncated, not a checkpoint, or holds pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file of weights")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        if "Unsupported global" in str(error) or "GLOBAL" in str(error):
            raise WeightsError(
                f"{path}: holds pickled Python objects, which could run code, and is not loaded; save tensors and plain values only"
            ) from None
        raise WeightsError(f"{path}: not a readable checkpoint ({reason})") from None
    except Exception as error:  # of any type: the reader meets arbitrary bytes
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{path}: truncated or not a checkpoint ({reason}); delete it or use an earlier one") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a dictionary of weights")
    return content


@dataclass
class LoadReport:
    """What :func:`load_pretrained` did, by parameter name."""

    loaded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)  # in the model, not in the file: keep their initial values
    dropped: list[str] = field(default_factory=list)  # in the file, of no use to this model

    def __str__(self) -> str:
        def count(names: list[str]) -> str:
            roots = sorted({".".join(name.split(".")[:2]) for name in names})
            return f"{len(names)} ({', '.join(roots[:4])}{', ...' if len(roots) > 4 else ''})" if names else "0"

        return f"loaded {len(self.loaded)} tensors, new {count(self.new)}, dropped {count(self.dropped)}"


def load_pretrained(model: Any, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Start ``model`` (a module with ``export()``) from the weights of an earlier stage.

    A classifier takes the encoder of an autoencoder: the decoder (and the final norm under average
    pooling) is dropped, head and ``fc_norm`` are new. Between models of one kind everything must
    match. The pixel statistics stay those of the config: they belong to the data, not to the weights.

    Raises:
        WeightsError: names the first tensor that does not fit.
    """
    target = model.export()
    own = {name: value for name, value in target.state_dict().items() if not name.startswith("preprocess.")}
    given = {name: value for name, value in plain_state(state).items() if not name.startswith("preprocess.")}
    may_drop: tuple[str, ...] = ()
    may_be_new: tuple[str, ...] = ()
    if any(name.startswith("encoder.") for name in given) and not any(name.startswith("encoder.") for name in own):
        given = {name.replace("encoder.", "backbone.", 1) if name.startswith("encoder.") else name: value for name, value in given.items()}
        may_drop, may_be_new = ("decoder.", "backbone.norm."), ("head.", "backbone.fc_norm.")
    report = LoadReport(
        loaded=[name for name in own if name in given],
        new=[name for name in own if name not in given],
        dropped=[name for name in given if name not in own],
    )
    for name in report.new:
        if not name.startswith(may_be_new):
            raise WeightsError(f"{source}: weights of another architecture: {name} is in the model and not in the file")
    for name in report.dropped:
        if not name.startswith(may_drop):
            raise WeightsError(f"{source}: weights of another architecture: {name} is in the file and not in the model")
    check_shapes(own, given, source)
    target.load_state_dict({name: given[name] for name in report.loaded}, strict=False)
    return report


def load_exact(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state`` into ``module``, every name and shape the same, statistics included; else WeightsError."""
    load_state(module, plain_state(state), source)


def load_state(module: nn.Module, given: Mapping[str, Tensor], source: str) -> None:
    """As :func:`load_exact`, for a state with the module's own names, wrapper included."""
    own = module.state_dict()
    for name in [*(n for n in own if n not in given), *(n for n in given if n not in own)]:
        where = "the model and not in the file" if name in own else "the file and not in the model"
        raise WeightsError(f"{source}: weights of another architecture: {name} is in {where}")
    check_shapes(own, given, source)
    module.load_state_dict(given)


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state whose names start where the exported module does: without a wrapper's ``classifier.``."""
    inner = {name.removeprefix("classifier."): value for name, value in state.items() if name.startswith("classifier.")}
    return inner or dict(state)


def check_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    """Raise WeightsError naming the first tensor whose shape differs."""
    for name, value in own.items():
        if name in given and given[name].shape != value.shape:
            shapes = f"{list(given[name].shape)} in the file and {list(value.shape)} in the model"
            raise WeightsError(f"{source}: weights of another architecture: {name} is {shapes}")
