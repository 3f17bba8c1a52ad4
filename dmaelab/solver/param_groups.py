"""Parameter groups: who is decayed, and how much of the learning rate each layer gets."""

from collections.abc import Sequence
from typing import Any

from dmaelab.interfaces import Trainable
from dmaelab.utils.errors import ConfigError


def param_groups(
    model: Trainable, weight_decay: float, no_decay: Sequence[str] = (), layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Return optimizer groups of the trainable parameters, each with ``weight_decay`` and ``lr_scale``.

    Vectors (biases, norms) and parameters whose last name is in ``no_decay`` are not decayed. Layer
    ``i`` of the ``n`` that ``model.layers()`` names gets the learning rate times
    ``layer_decay ** (n - i)``; final norm and head, which no layer claims, get the full rate (Clark et
    al., 2020, as in BEiT and MAE). The official DMAE pre-training decays class and mask token; its
    fine-tuning decays neither ``pos_embed`` nor ``cls_token``.

    Groups come layer by layer, in each layer what is not decayed before what is, parameters in the order of the model.

    Raises:
        ConfigError: for a ``layer_decay`` outside (0, 1].
    """
    if not 0 < layer_decay <= 1:
        raise ConfigError(f"optimizer.layer_decay is {layer_decay}: give a number in (0, 1]")
    layers = model.layers() if layer_decay < 1 else []
    scales = {id(p): layer_decay ** (len(layers) - i) for i, layer in enumerate(layers) for p in layer}
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decayed = parameter.ndim > 1 and name.split(".")[-1] not in no_decay
        scale = scales.get(id(parameter), 1.0)
        for kind in (False, True):
            groups.setdefault(
                (scale, kind), {"params": [], "weight_decay": weight_decay if kind else 0.0, "lr_scale": scale}
            )
        groups[scale, decayed]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]
