"""Writes log records: the mean losses since the last record, and the values that other hooks report."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from dmaelab.engine.hooks.base import Hook
from dmaelab.engine.writers import Writer
from dmaelab.utils.distributed import all_reduce, is_main, world_size


class LogHook(Hook):
    """Sums the losses on the device; every ``period`` steps it reads the sums and calls the writers.

    Other hooks put their values into ``trainer.pending``; they are written with the record of the same step.

    Args:
        writers: each gets ``write(step, values)``. Only the first process has writers that are called.
        period: steps between records.
    """

    def __init__(self, writers: Sequence[Writer], period: int) -> None:
        self.writers, self.period = writers, period
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def after_step(self) -> None:
        """Add the losses of this step. Write a record if it is time, or if another hook has reported values."""
        trainer = self.trainer
        values: dict[str, Any] = dict(trainer.losses)
        if len(values) > 1:
            values["loss"] = sum(values.values())
        if trainer.grad_norm is not None:
            values["grad_norm"] = trainer.grad_norm
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value.float() if name in self.sums else value.float()
        self.count += 1
        if trainer.step % self.period == 0 or trainer.step == trainer.max_iter:
            means = {
                name: float(all_reduce(total.clone(), "sum")) / self.count / world_size()
                for name, total in self.sums.items()
            }
            lr = max(group["lr"] for group in trainer.optimizer.param_groups)
            self._write({**means, "lr": lr, **trainer.pending})
            self.sums, self.count = {}, 0
        elif trainer.pending:
            self._write(trainer.pending)

    def _write(self, values: dict[str, float]) -> None:
        if is_main():
            for writer in self.writers:
                writer.write(self.trainer.step, values)
        self.trainer.pending.clear()

    def before_train(self) -> None:
        """Open the writers; they remove records after the current step.

        Such records are left over from a run that was killed after its last checkpoint. They are written again.
        """
        for writer in self.writers:
            writer.open(self.trainer.step)

    def close(self) -> None:
        """Close every writer, also if one of them fails."""
        with ExitStack() as closing:
            for writer in reversed(self.writers):
                closing.callback(writer.close)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the unfinished record, averaged over processes. Every process must call this."""
        return {
            "sums": {name: all_reduce(total.clone(), "sum") / world_size() for name, total in self.sums.items()},
            "count": self.count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums."""
        self.sums = {name: total.to(self.trainer.device) for name, total in state["sums"].items()}
        self.count = state["count"]
