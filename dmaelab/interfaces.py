"""What data, models and the trainer agree on: the batch, and the module that can be trained on it.

Data makes a :class:`Batch`, the trainer hands it to a :class:`Trainable`, and neither knows the other's files.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from dmaelab.utils.random import Draw


@dataclass(frozen=True)
class Batch:
    """A micro-batch on its device, with the address of its random numbers."""

    images: Tensor  # float32 [N,C,H,W] in [0,1]
    targets: Tensor  # int64 [N]
    index: Tensor  # int64 [N], places in the data set
    draw: Draw  # key (seed, "train", step, g)
    progress: float  # share of the training that is done, 0..1


class Trainable(nn.Module):
    """A module that the trainer can train: it holds its own task, so that one trainer serves every task."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named losses of a batch, scalars in float32; the trainer minimises their sum."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(batch)")

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Return named scalars, each a mean over the images of the batch; no gradient is kept."""
        raise NotImplementedError(f"{type(self).__name__} must define evaluate(batch)")

    def export(self) -> nn.Module:
        """Return the module whose weights a finished run keeps: this one, or a part of it."""
        raise NotImplementedError(f"{type(self).__name__} must define export()")

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters in groups from the input on, for layer-wise learning-rate decay.

        A parameter in no group, such as one of the head, learns at the full rate.
        """
        raise NotImplementedError(f"{type(self).__name__} must define layers()")
