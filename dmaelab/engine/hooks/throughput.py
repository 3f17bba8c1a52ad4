"""Measures the speed of a run, and the share of time that it waits for data."""

import time

import torch

from dmaelab.engine.hooks.base import Hook


class ThroughputHook(Hook):
    """Adds ``images_per_second``, ``data_wait`` (share of time) and, on CUDA, ``memory_gib`` (peak) to log records.

    The values cover the steps since the last record, without evaluation and saving. The first step of a process is
    left out, because it includes warm-up. On CUDA the times are right although kernels run asynchronously, because
    :class:`NaNGuard` runs first and waits for the device at the end of each period.

    Args:
        batch_size: images of one step, over all processes.
        period: steps between records.
    """

    def __init__(self, batch_size: int, period: int) -> None:
        self.batch_size, self.period = batch_size, period
        self.warm = False
        self._restart()

    def before_step(self) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def after_step(self) -> None:
        """Count this step, and report at the end of a period."""
        if not self.warm:
            self.warm = True
            return
        self.steps += 1
        self.seconds += time.perf_counter() - self.started
        self.waited += self.trainer.data_seconds
        if self.trainer.step % self.period == 0 or self.trainer.step == self.trainer.max_iter:
            self.trainer.pending["images_per_second"] = self.steps * self.batch_size / self.seconds
            self.trainer.pending["data_wait"] = self.waited / self.seconds
            if self.trainer.device.type == "cuda":
                self.trainer.pending["memory_gib"] = torch.cuda.max_memory_allocated(self.trainer.device) / 2**30
            self._restart()

    def _restart(self) -> None:
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0
