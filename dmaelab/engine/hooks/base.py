"""The base class of hooks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmaelab.engine.trainer import Trainer


class Hook:
    """Base class of hooks: code that runs before and after the steps of a training, in the order of registration.

    A hook reads and changes the training through ``self.trainer``. If it has a state, ``state_dict`` must return all
    that a resumed run needs to continue as if it had never stopped. Checkpoints store it under :attr:`name`, which must
    be unique among the hooks of a trainer.
    """

    trainer: "Trainer"

    @property
    def name(self) -> str:
        """The key of this hook's state in a checkpoint."""
        return type(self).__name__

    def before_train(self) -> None:
        """Run once, before the first step."""

    def before_step(self) -> None:
        """Run before each step."""

    def after_backward(self) -> None:
        """Run when the gradients of a step are complete, before the optimizer uses them."""

    def after_step(self) -> None:
        """Run after each step; ``trainer.step`` is already the number of finished steps."""

    def after_train(self) -> None:
        """Run once, after the last step."""

    def on_fault(self) -> bool | None:
        """Run if a step fails because of its data or of the machine, and all is as after the last finished step.

        Returns:
            True if the hook has saved the finished steps.
        """

    def close(self) -> None:
        """Run once at the end, also after an error: close files, restore signal handlers, and so on."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values to save."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
