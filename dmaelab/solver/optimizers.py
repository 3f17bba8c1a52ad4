"""AdamW with parameter groups."""

from collections.abc import Sequence

import torch

from dmaelab.interfaces import Trainable
from dmaelab.rules.optimizer import fused_rule
from dmaelab.solver.param_groups import param_groups


def build_adamw(
    model: Trainable,
    lr: float,
    weight_decay: float = 0.05,
    betas: tuple[float, float] = (0.9, 0.999),
    no_decay: Sequence[str] = (),
    layer_decay: float = 1.0,
) -> torch.optim.AdamW:
    """Return AdamW with the groups of :func:`param_groups`.

    ``lr`` is the peak learning rate, before schedule and layer-wise decay are applied. The kernel is chosen by
    :func:`dmaelab.rules.optimizer.fused_rule`.
    """
    groups = param_groups(model, weight_decay, no_decay, layer_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=fused_rule(next(model.parameters()).device.type))
