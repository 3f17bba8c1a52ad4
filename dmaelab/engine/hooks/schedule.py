"""Sets the learning rate before each step."""

from collections.abc import Callable

from dmaelab.engine.trainer import Hook


class ScheduleHook(Hook):
    """``lr = peak * lr_scale of the group * schedule(step / max_iter)``; keeps no state.

    Args:
        schedule: share of the training in [0, 1) -> multiplier.
    """

    def __init__(self, schedule: Callable[[float], float]) -> None:
        self.schedule = schedule

    def before_step(self) -> None:
        """Set the rate of every group; the peak is the optimizer's default, which no checkpoint overwrites."""
        trainer = self.trainer
        factor = self.schedule(trainer.step / trainer.max_iter)
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.optimizer.defaults["lr"] * group.get("lr_scale", 1.0) * factor
