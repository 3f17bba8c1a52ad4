"""LARS, an optimizer for linear probes with very large batches."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.interfaces import Trainable


class LARS(torch.optim.Optimizer):
    """LARS (You et al., 2017): SGD with momentum and steps proportional to the norm of each weight matrix.

    For parameters with more than one dimension, ``g += weight_decay * p`` and then ``g *= trust * |p| / |g|`` (the
    factor is 1 if one of the norms is 0). For all parameters, ``m = momentum * m + g`` and ``p -= lr * m``. Vectors
    (biases, norms) are neither decayed nor scaled, so they use the full learning rate. The learning rate is not part of
    the momentum buffer, as in the LARS of MoCo v3 and MAE, so the schedule may change it at any step. The host does
    not wait for the device.

    Args:
        params: parameters, or parameter groups.
        lr: learning rate.
        weight_decay: coupled (L2) weight decay of matrices.
        momentum: momentum of the scaled gradients, without dampening or Nesterov.
        trust: trust coefficient: the norm of a step with lr=1, relative to the norm of the parameter.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        trust: float = 0.001,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update all parameters that have a gradient; return the result of ``closure`` if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = (
                    parameter.grad
                    if parameter.ndim <= 1
                    else _layer_wise(parameter, group["weight_decay"], group["trust"])
                )
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                state["momentum_buffer"].mul_(group["momentum"]).add_(update)
                parameter.add_(state["momentum_buffer"], alpha=-group["lr"])
        return loss


def _layer_wise(parameter: Tensor, weight_decay: float, trust: float) -> Tensor:
    """Return the gradient with weight decay, scaled so that its norm is ``trust`` times the parameter's norm."""
    update = parameter.grad.add(parameter, alpha=weight_decay)  # type: ignore[union-attr]
    size, length = parameter.norm(), update.norm()
    ratio = trust * size / length  # infinite or NaN if a norm is 0; torch.where then takes 1
    return update * torch.where((size > 0) & (length > 0), ratio, 1.0)


def build_lars(
    model: Trainable, lr: float, weight_decay: float = 0.0, momentum: float = 0.9, trust: float = 0.001
) -> LARS:
    """Return LARS for the trainable parameters of ``model``; ``lr`` is the peak learning rate of the schedule.

    The linear probes of MAE and DMAE use ``lr = scaled_lr(0.1, 16384)`` = 6.4 and no weight decay.
    """
    return LARS([p for p in model.parameters() if p.requires_grad], lr, weight_decay, momentum, trust)
