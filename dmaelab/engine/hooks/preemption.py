"""Saves a checkpoint and stops the run after the current step when a signal arrives."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from dmaelab.engine.hooks.base import Hook
from dmaelab.utils.distributed import world_size
from dmaelab.utils.errors import Preempted
from dmaelab.utils.signals import StopSignals
from dmaelab.utils.watchdog import WATCHDOG, Terms

CONTINUE = "continue with --resume (a pipeline: with the same command)"
NOTICE = "stopping after this step; Ctrl-C again ends at once"

_CTRL_C, _SIGNAL = 1, 2


class PreemptionHook(Hook):
    """On SIGTERM, SIGUSR2, SIGHUP or Ctrl-C, saves a checkpoint after the current step and stops the training.

    A signal only sets a flag. If any process receives one, all processes stop after the same step: with ``Preempted``,
    or with ``KeyboardInterrupt`` if it was only Ctrl-C. A signal that arrives in the last step lets the training
    finish; :attr:`signalled` tells the caller, who must not start anything further. A second Ctrl-C raises
    ``KeyboardInterrupt`` at once, and nothing is saved.

    If no step ends within the grace time, the watchdog ends the process. It lets a save finish that has begun.

    Args:
        save: saves a checkpoint of this step.
        grace: seconds from the first signal to the end of the process (``train.stop_grace``).
        saved: says what is saved so far, without reading files.
    """

    def __init__(
        self, save: Callable[[], None], grace: float = 20.0, saved: Callable[[], str] = lambda: "nothing is saved"
    ) -> None:
        self.save, self.saved, self.grace = save, saved, grace
        self._asked = 0
        self._signals = StopSignals(self._raise_flag, Terms(grace, self._late, NOTICE))

    def before_train(self) -> None:
        """Catch the signals. With several processes, open a gloo group, so that exchanging the flag needs no GPU."""
        self._group: Any = dist.new_group(backend="gloo") if world_size() > 1 else None
        self._signals.catch()

    @property
    def signalled(self) -> bool:
        """Whether this process, or another one before the end of a step, has received one of the signals."""
        return self._asked > 0

    @property
    def by_ctrl_c(self) -> bool:
        """Whether it was only Ctrl-C."""
        return self._asked == _CTRL_C

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and WATCHDOG.second_ctrl_c():
            raise KeyboardInterrupt(f"interrupted at once, in step {self.trainer.step + 1}; {self.saved()}: {CONTINUE}")
        if number == signal.SIGINT:
            WATCHDOG.notify()
        self._asked = max(self._asked, _CTRL_C if number == signal.SIGINT else _SIGNAL)

    def _late(self) -> str:
        return (
            f"stopped by a signal, but no step ended within {self.grace:g} s, perhaps because it waits for data or for"
            f" another process; {self.saved()}: {CONTINUE}"
        )

    def after_step(self) -> None:
        """Save and stop if any process was signalled."""
        if self._group is not None:
            flag = torch.tensor(float(self._asked))
            dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._group)
            self._asked = max(self._asked, int(flag))  # so that all processes answer alike
        # The value that all processes agree on: another signal may arrive between here and the next step.
        asked = self._asked if self._group is None else int(flag)
        if asked and self.trainer.step < self.trainer.max_iter:
            WATCHDOG.stopping = True
            self.save()
            raise stop_error(
                asked == _CTRL_C,
                f"stopped at step {self.trainer.step} of {self.trainer.max_iter} by"
                f" {'Ctrl-C' if asked == _CTRL_C else 'a signal'}; the state is saved: {CONTINUE}",
            )

    def close(self) -> None:
        """Restore the previous signal handlers."""
        self._signals.give_back()


def stop_error(by_ctrl_c: bool, text: str) -> BaseException:
    """Return the error that ends a run which was asked to stop."""
    return KeyboardInterrupt(text) if by_ctrl_c else Preempted(text)
