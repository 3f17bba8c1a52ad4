"""The base classes of losses, of reconstructions and of classifiers under noise, and the context of the latter."""

from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn

from dmaelab.corruptions import Corrupted
from dmaelab.utils.random import Draw


class ReconstructionLoss(nn.Module):
    """Base class of losses that compare predicted patches with clean ones."""

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            pred: predicted patches [N,L,P].
            target: clean patches [N,L,P].
            mask: [N,L], 1 where a patch was hidden, else 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(pred, target, mask)")


class LossContext(Protocol):
    """All that a loss may know of one micro-batch: the classifier, its images and targets, and their noise.

    Attributes:
        classifier: maps [0,1] images [N,C,H,W] to logits [N,K].
        images: clean images [N,C,H,W] in [0,1].
        targets: classes [N], int64; if the batch is mixed (mixup, CutMix), probabilities [N,K], float32.
        progress: share of the training that is done, in [0, 1).
        draw: parent of the loss's own random numbers; take a child for each use.
    """

    classifier: nn.Module
    images: Tensor
    targets: Tensor
    progress: float
    draw: Draw

    def noisy(self, images: Tensor | None = None, copies: int | None = None, tag: str = "train") -> Corrupted:
        """Return noisy copies [copies*N,C,H,W], copy-major: row ``c*N + i`` is copy c of image i.

        Args:
            images: [N,C,H,W] in [0,1]; None takes the images of the batch.
            copies: number of copies of each image; None takes the ``copies`` of the loss.
            tag: the same tag always gives the same noise, another tag gives independent noise.
        """

    def frozen(self) -> AbstractContextManager[nn.Module]:
        """Return a context that yields the classifier in evaluation mode, with parameters that get no gradient.

        Modes and ``requires_grad`` are restored at its end.
        """


class ClassificationLoss(nn.Module):
    """Base class of losses of a classifier under noise.

    Attributes:
        copies: number of noisy copies of each image that the loss compares.
        label_smoothing: share of the target that the loss spreads over all classes, in [0, 1).
        needs_hard_labels: whether the targets must be classes, as for an attack on a class. Mixing and label smoothing,
            which turn targets into probabilities, are then an error.
    """

    copies: int = 1
    label_smoothing: float = 0.0
    needs_hard_labels: bool = False

    def forward(self, context: LossContext) -> dict[str, Tensor]:
        """Return named scalars in float32, which the trainer adds up."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(context)")
