"""Losses by name: reconstruction (MSE on all or masked patches) and classification under noise (RS, CR)."""

from dmaelab.losses.base import ClassificationLoss, LossContext, ReconstructionLoss
from dmaelab.losses.build import LOSSES, build_loss
from dmaelab.losses.classification import RS
from dmaelab.losses.consistency import CR, consistency_terms, paper_mu
from dmaelab.losses.reconstruction import MSEAllPatches, MSEMaskedPatches

__all__ = [
    "CR",
    "LOSSES",
    "RS",
    "ClassificationLoss",
    "LossContext",
    "MSEAllPatches",
    "MSEMaskedPatches",
    "ReconstructionLoss",
    "build_loss",
    "consistency_terms",
    "paper_mu",
]
