"""Mean squared errors of reconstructed patches: over all patches (DMAE), or over the hidden ones only (MAE)."""

from torch import Tensor

from dmaelab.losses.base import ReconstructionLoss
from dmaelab.losses.build import LOSSES


@LOSSES.register("mse_all_patches")
class MSEAllPatches(ReconstructionLoss):
    """Squared error averaged over all patches, visible ones included (DMAE, Section 3.2)."""

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over images, patches and entries, in float32; ``mask`` is not used."""
        return (pred.float() - target).square().mean()


@LOSSES.register("mse_masked_patches")
class MSEMaskedPatches(ReconstructionLoss):
    """Squared error averaged over the hidden patches only (MAE, He et al., 2022)."""

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over images, hidden patches and entries, in float32."""
        per_patch = (pred.float() - target).square().mean(dim=-1)
        return (per_patch * mask).sum() / mask.sum()
