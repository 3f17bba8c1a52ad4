"""Save a model to a file, under this project's names, the official ones or timm's."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from dmaelab.interfaces import Trainable
from dmaelab.modeling.backbones.vit import ViT
from dmaelab.modeling.denoising_mae import DenoisingMAE
from dmaelab.utils.errors import MachineError
from dmaelab.utils.files import atomic_write
from dmaelab.weights.facts import encoder_of, facts_of
from dmaelab.weights.files import FACTS, WeightsError
from dmaelab.weights.layouts import State, rename_to_official, rename_to_timm

LAYOUTS: dict[str, Callable[[State], dict[str, Tensor]]] = {
    "dmaelab": dict,
    "official": rename_to_official,
    "timm": rename_to_timm,
}


def save_weights(
    model: nn.Module,
    path: str | os.PathLike,
    layout: Literal["dmaelab", "official", "timm"] = "dmaelab",
) -> dict[str, Tensor]:
    """Write the weights of a model to a ``.pth`` or ``.safetensors`` file, and return its tensors.

    The facts that no tensor shows (:func:`dmaelab.weights.facts.facts_of`, and the pixel statistics if no tensor holds
    them) are written beside ``"model"``, or into the metadata of a safetensors file. :func:`load_pretrain` and
    :func:`load_classifier` read models with a ViT back; :func:`fill_pretrained` reads all others. If the number of
    heads was guessed when the model was loaded, the file stores the guess as a fact. An untrained (new) decoder is not
    written. The file is written in one step, so it is never half-written.

    Args:
        model: the model. For a :class:`~dmaelab.interfaces.Trainable` the result of its ``export()`` is saved.
        path: path of the file; its suffix chooses the format.
        layout: names of the tensors: ``"dmaelab"`` for any model; ``"official"`` and ``"timm"`` for models with a ViT.
            ``"timm"`` also leaves the decoder out.

    Raises:
        WeightsError: the layout has no names for the model, the model is a wrapper, the suffix is another one, or the
            file cannot be written.
        MachineError: the disk is full, or the machine failed in another way.
    """
    path, model = Path(path), model.export() if isinstance(model, Trainable) else model
    if path.suffix not in (".pth", ".safetensors"):
        raise WeightsError(f"{path}: name a file that ends in .pth or .safetensors")
    if isinstance(model, (DataParallel, DistributedDataParallel, AveragedModel)) or hasattr(model, "_orig_mod"):
        raise WeightsError(f"{path}: this {type(model).__name__} wraps a model: save the model inside it")
    if layout != "dmaelab" and not isinstance(encoder_of(model), ViT):
        raise WeightsError(
            f"{path}: layout '{layout}' names only models with a ViT of this project, but this {type(model).__name__}"
            " has none: choose layout 'dmaelab'"
        )
    facts = facts_of(model)
    own = model.state_dict()
    if isinstance(model, DenoisingMAE) and model.decoder.is_new:
        own = {name: value for name, value in own.items() if not name.startswith("decoder.")}
    if layout == "timm" and "head.1.weight" in own:
        raise WeightsError(
            "timm has no batch norm before the head: write this linear probe with layout 'official' or 'dmaelab'"
        )
    tensors = {name: value.cpu().contiguous() for name, value in LAYOUTS[layout](own).items()}
    if layout != "dmaelab":
        facts |= {name: getattr(model.preprocess, name).flatten().tolist() for name in ("pixel_mean", "pixel_std")}
    try:
        atomic_write(path, _writer(path, tensors, facts))
    except MachineError:
        raise
    except (OSError, RuntimeError) as error:  # torch's writer turns some write errors into RuntimeError
        raise WeightsError(f"{path} could not be written ({str(error).splitlines()[0]})") from error
    return tensors


def _writer(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> Callable[[BinaryIO], object]:
    if path.suffix == ".pth":
        return lambda file: torch.save({"model": tensors, FACTS: facts}, file)
    try:
        from safetensors.torch import save
    except ImportError:
        raise WeightsError(f"{path}: needs the package safetensors: pip install safetensors") from None
    return lambda file: file.write(save(tensors, {"format": "pt", FACTS: json.dumps(facts)}))
