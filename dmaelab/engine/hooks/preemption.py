"""Saves a checkpoint and stops the run after the current step when a signal arrives."""

from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from dmaelab.engine.trainer import Hook
from dmaelab.utils.distributed import world_size
from dmaelab.utils.errors import Preempted
from dmaelab.utils.signals import StopSignals


class PreemptionHook(Hook):
    """On SIGTERM, SIGUSR2 or SIGHUP, saves a checkpoint after the current step and raises ``Preempted``.

    If any process receives the signal, all processes stop after the same step. A signal that arrives in the last step
    lets the training finish; :attr:`signalled` tells the caller, who must not start anything further.

    Args:
        save: saves a checkpoint of this step.
    """

    def __init__(self, save: Callable[[], None]) -> None:
        self.save = save
        self.flag = torch.zeros(1)
        self._signals = StopSignals(self._raise_flag)

    def before_train(self) -> None:
        """Catch the signals. With several processes, open a gloo group, so that exchanging the flag needs no GPU."""
        self._group: Any = dist.new_group(backend="gloo") if world_size() > 1 else None
        self._signals.catch()

    @property
    def signalled(self) -> bool:
        """Whether this process, or another one before the end of a step, has received one of the signals."""
        return bool(self.flag.item())

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        self.flag.fill_(1)

    def after_step(self) -> None:
        """Save and stop if any process was signalled."""
        flag = self.flag.clone()
        if self._group is not None:
            dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._group)
            torch.maximum(self.flag, flag, out=self.flag)  # so that all processes answer `signalled` alike
        if flag.item() and self.trainer.step < self.trainer.max_iter:
            self.save()
            raise Preempted(
                f"stopped at step {self.trainer.step} of {self.trainer.max_iter} by a signal; the state is saved:"
                " continue with --resume (a pipeline: with the same command)"
            )

    def close(self) -> None:
        """Restore the previous signal handlers."""
        self._signals.give_back()
