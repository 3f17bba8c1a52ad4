"""Parameter groups for weight decay and layer-wise learning-rate decay."""

from collections.abc import Sequence
from typing import Any

from dmaelab.interfaces import Trainable
from dmaelab.utils.errors import ConfigError


def param_groups(
    model: Trainable, weight_decay: float, no_decay: Sequence[str] = (), layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Return optimizer groups of the trainable parameters, each with ``weight_decay`` and ``lr_scale``.

    Weight decay is not applied to vectors (biases, norms) and to parameters whose last name is in ``no_decay``. The
    official DMAE code decays the class and mask tokens in pre-training, but neither ``pos_embed`` nor ``cls_token`` in
    fine-tuning.

    Layer ``i`` of the ``n`` layers that ``model.layers()`` returns gets the learning rate times
    ``layer_decay ** (n - i)``. Parameters in no layer (final norm and head) get the full rate (Clark et al., 2020, as
    in BEiT and MAE).

    The groups are ordered by ``lr_scale`` in the order in which the scales first occur in the model; for each scale the
    group without weight decay comes first. Parameters keep the order of the model.

    Raises:
        ConfigError: ``layer_decay`` is outside (0, 1].
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
