"""Sets the learning rate before each step."""

from collections.abc import Callable

from dmaelab.engine.hooks.base import Hook


class ScheduleHook(Hook):
    """Sets ``lr = peak * lr_scale * schedule(step / max_iter)`` for each parameter group; keeps no state.

    ``peak`` is the learning rate that the optimizer was built with, ``lr_scale`` an entry of the group (1 if missing).

    Args:
        schedule: finished share of the training, in [0, 1) -> multiplier.
    """

    def __init__(self, schedule: Callable[[float], float]) -> None:
        self.schedule = schedule

    def before_step(self) -> None:
        """Set the rate of every group. The peak comes from ``optimizer.defaults``, which no checkpoint changes."""
        trainer = self.trainer
        factor = self.schedule(trainer.step / trainer.max_iter)
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.optimizer.defaults["lr"] * group.get("lr_scale", 1.0) * factor
