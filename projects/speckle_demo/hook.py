"""A hook that writes the norm of the weights to the metrics of a training."""

from torch.nn.utils import get_total_norm

from dmaelab.engine import Hook


class WeightNorm(Hook):
    """Adds ``weight_norm``, the l2 norm of all parameters together, to the metrics.

    Args:
        period: number of steps from one value to the next. Each value waits for the device, so a small period is slow.
    """

    def __init__(self, period: int = 50) -> None:
        self.period = period

    def after_step(self) -> None:
        """Compute the norm at every ``period``-th step."""
        if self.trainer.step % self.period == 0:
            norm = get_total_norm([parameter.detach() for parameter in self.trainer.inner.parameters()])
            self.trainer.pending["weight_norm"] = float(norm)
