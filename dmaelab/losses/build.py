"""The two interfaces of losses: for reconstructions and for classifiers under noise."""

from typing import Any

from torch import Tensor, nn

from dmaelab.registry import Registry, builder

LOSSES = Registry("loss")
build_loss = builder(LOSSES)
build_loss.__module__ = __name__


class ReconstructionLoss(nn.Module):
    """A loss of predicted against clean patches."""

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return a scalar from ``pred`` and ``target`` [N,L,P] and ``mask`` [N,L] (1 where a patch was hidden)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(pred, target, mask)")


class ClassificationLoss(nn.Module):
    """A loss of a classifier under noise; gets everything through one context.

    Attributes:
        copies: noisy copies of each image that the loss compares.
        needs_hard_labels: whether mixing and label smoothing must be refused (every attack does).
    """

    copies: int = 1
    needs_hard_labels: bool = False

    def forward(self, context: Any) -> dict[str, Tensor]:
        """Return named scalars, which the trainer adds up.

        ``context`` is a :class:`dmaelab.modeling.LossContext`: ``classifier, images, targets,
        progress, draw, aux, noisy(...), frozen()``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(context)")
