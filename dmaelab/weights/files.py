"""Weights from files: safely; and into a model that is exactly theirs."""

import argparse
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dmaelab.utils.errors import UserError
from dmaelab.weights.layouts import is_official, own_layout, unwrapped

FACTS = "dmaelab"  # the entry of a file, beside "model", with what no tensor shows: heads, pixel statistics, mask ratio


class WeightsError(UserError):
    """A file of weights that cannot be used, or not for this model."""


def load_file(path: str | os.PathLike) -> dict[str, Any]:
    """Return what a checkpoint file holds, on the CPU; no pickled code is ever executed.

    Beside tensors and plain values only ``argparse.Namespace`` is read, a bag of values that the official trainers
    save. A file with the suffix ``.safetensors`` gives ``{"model": tensors}``, and the entry ``FACTS`` of its header.

    Raises:
        WeightsError: the file is missing, truncated, not a checkpoint, or holds pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file of weights")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    # Only what is not allowed yet: torch forgets all of these at the end, and the caller may have allowed it for good.
    allowed: list[Any] = [cls for cls in (argparse.Namespace,) if cls not in torch.serialization.get_safe_globals()]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        if "Unsupported global" in str(error) or "GLOBAL" in str(error):
            raise WeightsError(
                f"{path}: holds pickled Python objects, which could run code, and is not loaded; save tensors and"
                " plain values only"
            ) from None
        raise WeightsError(f"{path}: not a readable checkpoint ({reason})") from None
    except Exception as error:  # of any type: the reader meets arbitrary bytes
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"{path}: truncated or not a checkpoint ({reason}); delete it or use an earlier one"
        ) from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a dictionary of weights")
    return content


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import safe_open
    except ImportError:
        raise WeightsError(f"{path}: needs the package safetensors: pip install safetensors") from None
    try:
        with safe_open(path, framework="pt") as file:
            facts = (file.metadata() or {}).get(FACTS)
            content: dict[str, Any] = {"model": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
        return content if facts is None else {**content, FACTS: json.loads(facts)}
    except Exception as error:  # of any type: the reader meets arbitrary bytes
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{path}: truncated or not a safetensors file ({reason})") from None


@dataclass(frozen=True)
class Weights:
    """The weights of one file.

    Attributes:
        state: tensors under this project's names, without wrappers.
        official: whether the file has the official names, which are also timm's.
        facts: what the file says beside its tensors, see :data:`FACTS`.
        source: the file, for messages.
    """

    state: dict[str, Tensor]
    official: bool
    facts: dict[str, Any]
    source: str

    @property
    def kind(self) -> Literal["autoencoder", "classifier", "unknown"]:
        """What the names say that this is; an encoder alone is an autoencoder."""
        trunks = {name.split(".")[0] for name in self.state}
        return "classifier" if "backbone" in trunks else "autoencoder" if "encoder" in trunks else "unknown"


def read_weights(path_or_dict: "str | os.PathLike | Mapping[str, Any] | Weights") -> Weights:
    """Return the weights of a file, or of what was loaded from one: tensors by name, or an entry ``"model"`` of such.

    Raises:
        WeightsError: as :func:`load_file`, or there are no weights in it.
    """
    if isinstance(path_or_dict, Weights):
        return path_or_dict
    content, name = (
        (path_or_dict, "the dictionary")
        if isinstance(path_or_dict, Mapping)
        else (load_file(path_or_dict), str(path_or_dict))
    )
    state, facts = content.get("model", content), content.get(FACTS, {})
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    ):
        entries = ", ".join(str(key) for key in list(content)[:5]) or "nothing"
        raise WeightsError(
            f"{name}: holds no weights: neither tensors by name nor an entry 'model' of such ({entries})"
        )
    if not isinstance(facts, Mapping):
        raise WeightsError(f"{name}: its entry '{FACTS}' is a {type(facts).__name__}, not a dictionary")
    return Weights(
        own_layout(state), is_official(unwrapped(state)), {**_trainer_facts(content.get("args")), **facts}, name
    )


def _trainer_facts(args: Any) -> dict[str, Any]:
    """Return what the arguments of an official pre-training, which its checkpoints hold, say of its recipe."""
    known = {"mask_ratio": getattr(args, "mask_ratio", None), "norm_pix": getattr(args, "norm_pix_loss", None)}
    return {name: value for name, value in known.items() if isinstance(value, (float, bool))}


def load_exact(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state`` into ``module``, every name and shape the same, statistics included; else WeightsError."""
    load_state(module, unwrapped(state), source)


def load_state(module: nn.Module, given: Mapping[str, Tensor], source: str) -> None:
    """As :func:`load_exact`, for a state with the module's own names, wrapper included."""
    own = module.state_dict()
    for name in [*(n for n in own if n not in given), *(n for n in given if n not in own)]:
        where = "the model and not in the file" if name in own else "the file and not in the model"
        raise WeightsError(f"{source}: weights of another architecture: {name} is in {where}")
    check_tensors(own, given, source)
    module.load_state_dict(given)


def check_tensors(own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    """Raise WeightsError naming the first tensor whose shape, or kind of numbers, differs."""
    for name, value in own.items():
        if name in given and given[name].shape != value.shape:
            shapes = f"{list(given[name].shape)} in the file and {list(value.shape)} in the model"
            raise WeightsError(f"{source}: weights of another architecture: {name} is {shapes}")
        if name in given and given[name].is_floating_point() != value.is_floating_point():
            raise WeightsError(
                f"{source}: {name} holds numbers of type {given[name].dtype}, and the model {value.dtype}"
            )
