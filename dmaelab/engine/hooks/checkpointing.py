"""Hooks that save checkpoints: periodic ones, milestones, and the best one by a metric."""

from collections.abc import Mapping
from typing import Any

from dmaelab.engine.checkpoint import CheckpointFolder
from dmaelab.engine.hooks.base import Hook
from dmaelab.engine.hooks.evaluation import EvalHook
from dmaelab.utils.distributed import world_size


class CheckpointHook(Hook):
    """Writes the trainer's state every ``period`` steps and after the last step, and keeps the newest ``keep`` files.

    Args:
        folder: where the files go.
        period: steps between saves; 0 saves at the end only.
        keep: number of periodic files to keep.
        milestones: name -> step. The state of that step is also saved as ``<name>.pth``, which is never deleted.
    """

    def __init__(self, folder: CheckpointFolder, period: int, keep: int, milestones: Mapping[str, int]) -> None:
        self.folder, self.period, self.keep = folder, period, keep
        self.milestones = dict(milestones)

    def after_step(self) -> None:
        """Save if it is time."""
        step, last = self.trainer.step, self.trainer.step == self.trainer.max_iter
        # Milestones come before the periodic file: if the process dies between the two, the resumed run starts before
        # this step and writes the milestone again.
        for name, when in self.milestones.items():
            if step == when:
                self.folder.save(name, self.trainer.state_dict())
        if last or (self.period and step % self.period == 0):
            self.save()

    def save(self) -> None:
        """Save this step now. Every process must call it; the first one writes."""
        self.folder.save_step(self.trainer.step, self.trainer.state_dict(), self.keep)

    def on_fault(self) -> bool:
        """Save the finished steps before the error ends the run, and return whether this was done.

        With several processes nothing is saved: saving needs all of them, and perhaps only this one has failed.
        """
        if self.trainer.step == 0 or world_size() > 1:
            return False
        self.save()
        return True


class BestHook(Hook):
    """Keeps the checkpoint with the best value of one evaluation metric as ``best``.

    Args:
        folder: where the file goes.
        evaluation: the hook whose metrics are compared; it must run before this one.
        metric: name of the metric.
        mode: ``"max"`` or ``"min"``.
    """

    def __init__(self, folder: CheckpointFolder, evaluation: EvalHook, metric: str, mode: str) -> None:
        self.folder, self.evaluation, self.metric, self.mode = folder, evaluation, metric, mode
        self.best: float | None = None

    def after_step(self) -> None:
        """Save if this step was evaluated and the metric improved."""
        if not self.evaluation.latest:
            return
        value = self.evaluation.latest[self.metric]
        if self.best is None or (value > self.best if self.mode == "max" else value < self.best):
            self.best = value
            self.folder.save("best", self.trainer.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best value."""
        self.best = state["best"]
