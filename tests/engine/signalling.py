"""A hook for tests, named by configs: sends the process that trains a signal after a step."""

import os
import signal

from dmaelab.engine import Hook


class Signal(Hook):
    """Send this process a signal after a step, as a cluster would.

    Args:
        step: number of finished steps.
        name: of the signal.
    """

    def __init__(self, step: int, name: str = "SIGKILL") -> None:
        self.step, self.number = step, getattr(signal, name)

    def after_step(self) -> None:
        """Send it if this is the step."""
        if self.trainer.step == self.step:
            os.kill(os.getpid(), self.number)
