"""The interfaces of losses: for reconstructions, for classifiers under noise, and what the latter get to see."""

from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn

from dmaelab.corruptions import Corrupted
from dmaelab.registry import Registry, builder
from dmaelab.utils.random import Draw

LOSSES = Registry("loss")
build_loss = builder(LOSSES)
build_loss.__module__ = __name__


class ReconstructionLoss(nn.Module):
    """A loss of predicted against clean patches."""

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return a scalar from ``pred`` and ``target`` [N,L,P] and ``mask`` [N,L] (1 where a patch was hidden)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(pred, target, mask)")


class LossContext(Protocol):
    """All that a loss may know of one micro-batch: the classifier, its images and targets, and their noise.

    Attributes:
        classifier: [0,1] images -> logits.
        images: clean images [N,C,H,W] in [0,1].
        targets: classes [N], int64; where the batch is mixed, probabilities [N,K], float32.
        progress: share of the training that is done, in [0, 1).
        draw: parent of any random numbers of the loss's own; take children.
    """

    classifier: nn.Module
    images: Tensor
    targets: Tensor
    progress: float
    draw: Draw

    def noisy(self, images: Tensor | None = None, copies: int | None = None, tag: str = "train") -> Corrupted:
        """Return noisy copies of ``images`` [N,C,H,W], of the batch's own by default, as [copies*N,C,H,W], copy-major.

        ``copies`` is the loss's own number by default. One ``tag`` always gives the same noise, another gives other.
        """

    def frozen(self) -> AbstractContextManager[nn.Module]:
        """Return a context with the classifier in evaluation mode, whose parameters take no gradient.

        Modes and gradients are put back at its end.
        """


class ClassificationLoss(nn.Module):
    """A loss of a classifier under noise.

    Attributes:
        copies: noisy copies of each image that the loss compares.
        label_smoothing: share of the target that the loss spreads over all classes, in [0, 1).
        needs_hard_labels: whether its targets must be classes, as an attack's are; mixing and label smoothing, which
            make probabilities of them, are then refused.
    """

    copies: int = 1
    label_smoothing: float = 0.0
    needs_hard_labels: bool = False

    def forward(self, context: LossContext) -> dict[str, Tensor]:
        """Return named scalars in float32, which the trainer adds up."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(context)")
