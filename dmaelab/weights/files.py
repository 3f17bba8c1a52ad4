"""Read weight files: return the tensors and facts of a file. Code in a file is never executed."""

import argparse
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_error
from dmaelab.utils.paths import local_path
from dmaelab.weights.layouts import is_official, rename_to_own, unwrap

FACTS = "dmaelab"
"""The entry of a file, beside ``"model"``, that holds facts such as attention heads, class names, mask ratio."""


class WeightsError(UserError):
    """The weights of a file cannot be used at all, or not for this model."""


def read_file(path: str | os.PathLike, mmap: bool = False) -> dict[str, Any]:
    """Return what a checkpoint file holds, on the CPU.

    Only tensors, plain values and ``argparse.Namespace`` are read; in the latter the official trainers save their
    arguments. For the suffix ``.safetensors`` the result is ``{"model": tensors}`` and, if the header has it, the entry
    :data:`FACTS`.

    Args:
        path: path of the file. It may have a scheme, such as ``s3://``, if a handler for it is registered with
            :data:`dmaelab.utils.paths.PATHS`.
        mmap: read the values of a tensor only when they are used; for a file that this project has written.

    Raises:
        WeightsError: the file is missing, truncated, not a checkpoint, or holds pickled objects.
        UserError: no handler is registered for the scheme.
        MachineError: memory is full, or the disk failed.
    """
    path = local_path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file of weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    # Classes that the caller has allowed already are left out, because torch forbids the whole list again at the end of
    # safe_globals.
    allowed: list[Any] = [cls for cls in (argparse.Namespace,) if cls not in torch.serialization.get_safe_globals()]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        if "Unsupported global" in str(error) or "GLOBAL" in str(error):
            raise WeightsError(
                f"{path}: holds pickled Python objects, which could run code, so it is not loaded; save tensors and"
                " plain values only"
            ) from None
        raise WeightsError(f"{path}: not a readable checkpoint ({reason})") from None
    except Exception as error:  # for arbitrary bytes the reader may raise anything
        if fault := machine_error(error, path=path):
            raise fault from error
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"{path}: truncated or not a checkpoint ({reason}); delete it or use an earlier one"
        ) from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a dictionary of weights")
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import safe_open
    except ImportError:
        raise WeightsError(f"{path}: needs the package safetensors: pip install safetensors") from None
    try:
        with safe_open(path, framework="pt") as file:
            facts = (file.metadata() or {}).get(FACTS)
            content: dict[str, Any] = {"model": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
        return content if facts is None else {**content, FACTS: json.loads(facts)}
    except Exception as error:  # for arbitrary bytes the reader may raise anything
        if fault := machine_error(error, path=path):
            raise fault from error
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{path}: truncated or not a safetensors file ({reason})") from None


@dataclass(frozen=True)
class Weights:
    """The weights of one file.

    Attributes:
        state: tensors under this project's names, without the prefixes of wrappers.
        official: whether the file has the names of the official files, which timm uses too.
        facts: the facts that the file stores beside its tensors, see :data:`FACTS`.
        source: name of the file, for error messages.
    """

    state: dict[str, Tensor]
    official: bool
    facts: dict[str, Any]
    source: str

    @property
    def kind(self) -> Literal["autoencoder", "classifier", "unknown"]:
        """The model that the names of the tensors belong to; an encoder alone counts as an autoencoder."""
        trunks = {name.split(".")[0] for name in self.state}
        return "classifier" if "backbone" in trunks else "autoencoder" if "encoder" in trunks else "unknown"


Source = str | os.PathLike | Mapping[str, Any] | Weights
"""Where weights come from: the path of a file, the dictionary that was read from it, or :class:`Weights`."""


def read_weights(path_or_dict: Source) -> Weights:
    """Return the weights of a file, or of a dictionary of tensors by name, or with such a dictionary as ``"model"``.

    Raises:
        WeightsError: :func:`read_file` raises it, or there are no weights in the file.
    """
    if isinstance(path_or_dict, Weights):
        return path_or_dict
    content, name = (
        (path_or_dict, "the dictionary")
        if isinstance(path_or_dict, Mapping)
        else (read_file(path_or_dict), str(path_or_dict))
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
        rename_to_own(state), is_official(unwrap(state)), {**_trainer_facts(content.get("args")), **facts}, name
    )


def _trainer_facts(args: Any) -> dict[str, Any]:
    """Return mask ratio and target normalisation from the arguments that official pre-training checkpoints hold."""
    known = {"mask_ratio": getattr(args, "mask_ratio", None), "norm_pix": getattr(args, "norm_pix_loss", None)}
    return {name: value for name, value in known.items() if isinstance(value, (float, bool))}
