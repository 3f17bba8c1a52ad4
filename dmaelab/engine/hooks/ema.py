"""Keeps an exponential moving average of the weights."""

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dmaelab.engine.trainer import Hook


class EMAHook(Hook):
    """After each step, averages parameters and buffers: ``ema = decay * ema + (1 - decay) * weights``.

    Args:
        model: the module in training, without wrapper.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """The averaged module."""
        return self.average.module

    def after_step(self) -> None:
        """Take the new weights into the average."""
        self.average.update_parameters(self.trainer.inner)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the averaged weights."""
        self.average.load_state_dict(state)
