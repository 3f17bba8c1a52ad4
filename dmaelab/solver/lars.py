"""LARS, the optimizer of linear probes at very large batches."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.interfaces import Trainable


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose matrices move by a share of their own norm (You et al., 2017), as MAE probes with it.

    For parameters of more than one dimension, ``g += weight_decay * p`` and then ``g *= trust * |p| / |g|`` (by 1 where
    either norm is 0). For all, ``m = momentum * m + g`` and ``p -= lr * m``. Vectors (biases, norms) are neither
    decayed nor scaled, so a bias takes the whole rate. The layer's rate is outside the momentum, as in MoCo v3 and MAE,
    whose schedule may change it at any step. Nothing waits for the device.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        weight_decay: coupled (L2) decay of matrices.
        momentum: of the scaled gradients; no dampening, no Nesterov.
        trust: length of a step at rate 1, relative to the parameter.
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
        """Move all parameters that have a gradient; return what ``closure`` returns, if there is one."""
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
    """Return the decayed gradient, its norm made ``trust`` times the parameter's."""
    update = parameter.grad.add(parameter, alpha=weight_decay)  # type: ignore[union-attr]
    size, length = parameter.norm(), update.norm()
    ratio = trust * size / length  # infinite or NaN where a norm is 0, and then not taken
    return update * torch.where((size > 0) & (length > 0), ratio, 1.0)


def build_lars(
    model: Trainable, lr: float, weight_decay: float = 0.0, momentum: float = 0.9, trust: float = 0.001
) -> LARS:
    """Return LARS over the trainable parameters of ``model``; ``lr`` is the peak rate, before the schedule.

    MAE and DMAE probe with ``lr = scaled_lr(0.1, 16384)`` = 6.4 and without decay.
    """
    return LARS([p for p in model.parameters() if p.requires_grad], lr, weight_decay, momentum, trust)
