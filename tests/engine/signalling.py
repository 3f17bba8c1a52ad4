"""Hooks for tests, named by configs: they send the process that trains a signal after a step, or let it hang."""

import os
import signal
import time

from dmaelab.engine import Hook
from dmaelab.utils.distributed import rank


class Signal(Hook):
    """Send this process a signal after a step, as a cluster would.

    Args:
        step: number of finished steps.
        name: of the signal.
        rank: only the process of this rank sends it; None lets all send it.
    """

    def __init__(self, step: int, name: str = "SIGKILL", rank: int | None = None) -> None:
        self.step, self.number, self.rank = step, getattr(signal, name), rank

    def after_step(self) -> None:
        """Send it if this is the step."""
        if self.trainer.step == self.step and self.rank in (None, rank()):
            os.kill(os.getpid(), self.number)


class Hang(Hook):
    """Wait for ever after a step, in one process of a group.

    Args:
        step: number of finished steps.
        rank: the process.
    """

    def __init__(self, step: int, rank: int) -> None:
        self.step, self.rank = step, rank

    def after_step(self) -> None:
        """Wait if this is the step."""
        while self.trainer.step == self.step and self.rank == rank():
            time.sleep(1)
