"""CR: consistency regularization over noisy copies."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dmaelab.losses.base import LossContext
from dmaelab.losses.build import LOSSES
from dmaelab.losses.classification import RS, cross_entropy
from dmaelab.utils.errors import UserError


@LOSSES.register("cr")
class CR(RS):
    """Cross-entropy plus consistency between noisy copies (Jeong & Shin, 2020; Eq. 8 of the paper).

    Args:
        lam: weight of KL(mean prediction || prediction of a copy), averaged over the copies; lambda in Eq. 8.
        mu: weight of the entropy of the mean prediction, mu in Eq. 8 (called eta in the paper's Table 8).
        copies: number m of noisy copies of each image, at least 2.
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """

    def __init__(self, lam: float = 2.0, mu: float = 0.5, copies: int = 2, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        if copies < 2:
            raise UserError(f"loss.copies is {copies}: consistency compares at least 2 noisy copies")
        self.lam, self.mu, self.copies = lam, mu, copies

    def forward(self, context: LossContext) -> dict[str, Tensor]:
        """Return ``{"loss_ce", "loss_consistency", "loss_entropy"}``, the last two already weighted."""
        logits = context.classifier(context.noisy(copies=self.copies).images).float()
        divergence, entropy = consistency_terms(logits.view(self.copies, -1, logits.shape[-1]))
        return {
            "loss_ce": cross_entropy(logits, context.targets, self.copies, self.label_smoothing),
            "loss_consistency": self.lam * divergence,
            "loss_entropy": self.mu * entropy,
        }


def paper_mu(sigma: float | tuple[float, float]) -> float:
    """Return the weight mu of Eq. 8 from Table 8 of the paper: 0.1 if sigma >= 1, else 0.5.

    The table has sigma 0.25, 0.5 and 1 only. For a range of sigmas the largest one decides.
    """
    return 0.1 if max(sigma if isinstance(sigma, Sequence) else (sigma,)) >= 1 else 0.5


def consistency_terms(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(mean KL(pbar || p_c), mean H(pbar))`` of ``logits`` [m, N, K], in nats.

    ``p_c`` is the softmax of copy c and ``pbar`` the mean over the copies; gradients flow through both. The first term
    is averaged over copies and images, the second over images. Both are finite even if a probability is exactly zero,
    because x log x is then taken to be 0.
    """
    log_p = torch.log_softmax(logits.float(), dim=-1)
    mean_p = log_p.exp().mean(dim=0)
    # The clamp keeps the gradient finite if all copies give some class the probability zero.
    neg_entropy = torch.xlogy(mean_p, mean_p.clamp_min(1e-20)).sum(dim=-1)
    cross = (mean_p * log_p).sum(dim=-1)
    return (neg_entropy - cross).mean(), -neg_entropy.mean()
