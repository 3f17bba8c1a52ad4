"""Stops a run whose loss is no number, on all processes at once."""

import math

import torch

from dmaelab.engine.trainer import Hook
from dmaelab.utils.distributed import all_reduce
from dmaelab.utils.errors import UserError

_NEVER = 2**62
_SMALLEST_SCALE = 2.0**-20


class NaNGuard(Hook):
    """Notes on the device the first step with a non-finite loss or gradient norm; looks at it every ``period`` steps.

    All processes look at the same steps and agree on the earliest, so none is left waiting. A
    checkpoint asks :meth:`check` first, so that no spoiled weights are ever saved. A look takes in the
    weights as well: without clipping, a gradient that is no number shows in no loss before the next step. Under loss
    scaling gradients overflow now and then; but a scale that has sunk out of sight means that all of them do.

    Args:
        period: steps between looks.
    """

    def __init__(self, period: int) -> None:
        self.period = period

    def before_train(self) -> None:
        """Forget earlier steps."""
        self.first_bad = torch.tensor(_NEVER, device=self.trainer.device)

    def after_backward(self) -> None:
        """Note this step, without waiting for the device."""
        trainer = self.trainer
        finite = torch.stack([value.float() for value in trainer.losses.values()]).isfinite().all()
        if trainer.grad_norm is not None:
            finite = finite & trainer.grad_norm.isfinite()
        step = torch.full_like(self.first_bad, trainer.step + 1)
        self.first_bad = torch.where(finite, self.first_bad, torch.minimum(self.first_bad, step))

    def after_step(self) -> None:
        """Look, every ``period`` steps."""
        if self.trainer.step % self.period == 0:
            self.check()

    def check(self) -> None:
        """Raise UserError on every process if any of them saw a non-finite step; waits for the device."""
        finite = torch.stack(
            [parameter.detach().isfinite().all() for parameter in self.trainer.inner.parameters()]
        ).all()
        step = torch.full_like(self.first_bad, self.trainer.step)
        scale = self.trainer.scaler.get_scale()
        if scale < _SMALLEST_SCALE:
            raise UserError(
                f"the gradients overflow fp16 at every loss scale (it is {scale:.3g} at step {self.trainer.step});"
                " nothing after the"
                " last checkpoint was saved: lower optimizer.lr, set train.clip_grad, or use train.precision=bf16 or"
                " fp32, then --resume"
            )
        first_bad = int(all_reduce(torch.where(finite, self.first_bad, torch.minimum(self.first_bad, step)), "min"))
        if first_bad == _NEVER:
            return
        losses = ", ".join(f"{name} {float(value):.4g}" for name, value in self.trainer.losses.items())
        state = "" if all(math.isfinite(float(v)) for v in self.trainer.losses.values()) else " and still is"
        raise UserError(
            f"the loss or gradient became nan or inf at step {first_bad}{state} ({losses}); nothing after the last"
            " checkpoint was saved:"
            " lower optimizer.lr, set train.clip_grad, or use train.precision=fp32, then --resume"
        )
