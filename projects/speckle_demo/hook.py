"""A hook: writes the size of the weights to the records of a training."""

from torch.nn.utils import get_total_norm

from dmaelab.engine import Hook


class WeightNorm(Hook):
    """Adds ``weight_norm``, the l2 norm of all parameters together, to the records.

    Args:
        period: steps between values. Each value waits for the device, so it should not be small.
    """

    def __init__(self, period: int = 50) -> None:
        self.period = period

    def after_step(self) -> None:
        """Measure if it is time."""
        if self.trainer.step % self.period == 0:
            norm = get_total_norm([parameter.detach() for parameter in self.trainer.inner.parameters()])
            self.trainer.pending["weight_norm"] = float(norm)
