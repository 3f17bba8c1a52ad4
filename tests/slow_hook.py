"""A plug-in for the tests: a hook that makes every step last longer, so that there is time to interrupt a training."""

import time

from dmaelab.engine.hooks.base import Hook


class SlowHook(Hook):
    """Sleep after each step; the numbers of the training are the same.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds

    def after_step(self) -> None:
        """Sleep."""
        time.sleep(self.seconds)
