"""Stops a run on all processes when a loss, a gradient or a weight becomes nan or inf."""

import math

import torch

from dmaelab.engine.hooks.base import Hook
from dmaelab.utils.distributed import all_reduce
from dmaelab.utils.errors import UserError

_NEVER = 2**62
_SMALLEST_SCALE = 2.0**-20


class NaNGuard(Hook):
    """Stops the run at the first step with a non-finite loss, gradient norm or weight.

    Each step is checked on the device, without waiting for it. The result is read every ``period`` steps, and before
    each checkpoint, so that no non-finite weights are saved. All processes read it at the same steps and agree on the
    earliest bad step, so that none is left waiting for the others.

    The weights are checked as well: without clipping there is no gradient norm, and a non-finite gradient would show
    in the loss only one step later. Under fp16 loss scaling single overflows are normal. If the loss scale falls below
    2^-20, every step overflows, and the run is stopped.

    Args:
        period: steps between two reads.
    """

    def __init__(self, period: int) -> None:
        self.period = period

    def before_train(self) -> None:
        """Reset the record of bad steps."""
        self.first_bad = torch.tensor(_NEVER, device=self.trainer.device)

    def after_backward(self) -> None:
        """Record on the device whether this step is finite."""
        trainer = self.trainer
        finite = torch.stack([value.float() for value in trainer.losses.values()]).isfinite().all()
        if trainer.grad_norm is not None:
            finite = finite & trainer.grad_norm.isfinite()
        step = torch.full_like(self.first_bad, trainer.step + 1)
        self.first_bad = torch.where(finite, self.first_bad, torch.minimum(self.first_bad, step))

    def after_step(self) -> None:
        """Call :meth:`check` every ``period`` steps."""
        if self.trainer.step % self.period == 0:
            self.check()

    def check(self) -> None:
        """Raise ``UserError`` on every process if any of them had a non-finite step. Waits for the device."""
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
                " fp32, then --resume --allow-changes"
            )
        first_bad = int(all_reduce(torch.where(finite, self.first_bad, torch.minimum(self.first_bad, step)), "min"))
        if first_bad == _NEVER:
            return
        losses = ", ".join(f"{name} {float(value):.4g}" for name, value in self.trainer.losses.items())
        state = "" if all(math.isfinite(float(v)) for v in self.trainer.losses.values()) else " and still is"
        raise UserError(
            f"the loss or gradient became nan or inf at step {first_bad}{state} ({losses}); nothing after the last"
            " checkpoint was saved:"
            " lower optimizer.lr, set train.clip_grad, or use train.precision=fp32, then --resume --allow-changes"
        )
