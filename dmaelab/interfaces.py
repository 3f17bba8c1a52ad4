"""The interface between data, models and the trainer: :class:`Batch` and :class:`Trainable`.

The data loader makes a :class:`Batch` and the trainer passes it to a :class:`Trainable`. The code for data does not
import the code for models, nor the other way round.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from dmaelab.utils.random import Draw


@dataclass(frozen=True)
class Batch:
    """A micro-batch on its device, with the key of its random numbers."""

    images: Tensor  # float32 [N,C,H,W] in [0,1]
    targets: Tensor  # int64 [N]
    index: Tensor  # int64 [N], indices in the data set
    draw: Draw  # key (seed, "train", step, g), where g is the number of the micro-batch
    progress: float  # fraction of the training that is done, 0..1


class Trainable(nn.Module):
    """A module that the trainer can train.

    It computes its own losses, so that one trainer serves every task.
    """

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of a batch by name, as float32 scalars; the trainer minimises their sum."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(batch)")

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Return scalar metrics by name, each a mean over the images of the batch; called without gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define evaluate(batch)")

    def export(self) -> nn.Module:
        """Return the module whose weights are saved at the end of a run: this one, or a part of it."""
        raise NotImplementedError(f"{type(self).__name__} must define export()")

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters by layer, from input to output, for layer-wise learning-rate decay.

        Parameters that are in no layer, such as those of the head, get the full learning rate.
        """
        raise NotImplementedError(f"{type(self).__name__} must define layers()")
