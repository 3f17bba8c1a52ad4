"""RS: cross-entropy on noisy images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dmaelab.losses.base import ClassificationLoss, LossContext
from dmaelab.losses.build import LOSSES
from dmaelab.utils.errors import UserError


@LOSSES.register("rs")
class RS(ClassificationLoss):
    """Cross-entropy on one noisy copy: Gaussian augmentation (Cohen et al., 2019; "RS" in the paper).

    Args:
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(f"loss.label_smoothing is {label_smoothing}: give a number in [0, 1)")
        self.label_smoothing = label_smoothing

    def forward(self, context: LossContext) -> dict[str, Tensor]:
        """Return ``{"loss_ce"}``: the mean of -log F(x + eta)_y over the batch."""
        logits = context.classifier(context.noisy(copies=self.copies).images).float()
        return {"loss_ce": cross_entropy(logits, context.targets, self.copies, self.label_smoothing)}


def cross_entropy(logits: Tensor, targets: Tensor, copies: int, label_smoothing: float) -> Tensor:
    """Return the mean cross-entropy of copy-major logits [copies*N, K].

    ``targets`` are classes [N], int64, or probabilities [N,K].
    """
    return F.cross_entropy(logits, torch.cat([targets] * copies), label_smoothing=label_smoothing)
