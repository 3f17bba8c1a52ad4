"""Keeps an exponential moving average of the weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dmaelab.engine.hooks.base import Hook


class EMAHook(Hook):
    """After each step, averages parameters and buffers: ``ema = decay * ema + (1 - decay) * weights``.

    Args:
        model: the module in training, without wrapper.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.average, self._mix = AveragedModel(model), get_ema_multi_avg_fn(decay)

    @property
    def name(self) -> str:
        """The key in checkpoints, the same for subclasses: who loads ``best`` looks for it."""
        return "EMAHook"

    @property
    def model(self) -> nn.Module:
        """The averaged module."""
        return self.average.module

    @torch.no_grad()
    def after_step(self) -> None:
        """Update the average with the new weights; the first update copies them.

        ``AveragedModel.update_parameters`` does the same, but copies its counter to the device in every step and
        waits for the device.
        """
        averages, weights = _by_type(self.model), _by_type(self.trainer.inner)
        for kind, own in averages.items():
            if self.average.n_averaged == 0:
                torch._foreach_copy_(own, weights[kind])
            else:
                self._mix(own, weights[kind], None)
        self.average.n_averaged += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the averaged weights."""
        self.average.load_state_dict(state)


def _by_type(module: nn.Module) -> dict[torch.dtype, list[Tensor]]:
    """Return parameters and buffers of a module, grouped by dtype, as ``torch._foreach`` functions need them."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        groups.setdefault(tensor.dtype, []).append(tensor)
    return groups
