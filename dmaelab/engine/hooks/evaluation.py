"""Evaluates during training and at its end."""

from collections.abc import Callable

from dmaelab.engine.hooks.base import Hook
from dmaelab.utils.distributed import world_size
from dmaelab.utils.errors import MachineError


class EvalHook(Hook):
    """Calls ``evaluate()`` every ``period`` steps and after the last step, and logs the metrics as ``eval_<name>``.

    Args:
        evaluate: returns metric name -> value, the same on every process.
        period: steps between evaluations; 0 evaluates at the end only.
    """

    def __init__(self, evaluate: Callable[[], dict[str, float]], period: int) -> None:
        self.evaluate, self.period = evaluate, period
        self.latest: dict[str, float] = {}

    def after_step(self) -> None:
        """Evaluate if it is time; ``latest`` is empty on other steps.

        If the machine fails meanwhile, the other hooks still do their part of the step, so that it can be saved.
        """
        trainer = self.trainer
        self.latest = {}
        if trainer.step == trainer.max_iter or (self.period and trainer.step % self.period == 0):
            try:
                self.latest = self.evaluate()
            except MachineError as fault:
                if world_size() > 1:  # other processes wait in the evaluation
                    raise
                trainer.fault = fault
            trainer.pending.update({f"eval_{name}": value for name, value in self.latest.items()})
