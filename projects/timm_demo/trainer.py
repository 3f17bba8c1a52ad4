"""A trainer: fine-tuning that keeps the patch projection of the pre-training."""

from typing import cast

from dmaelab.engine import DefaultTrainer
from dmaelab.interfaces import Trainable
from dmaelab.modeling import Classifier
from projects.timm_demo.backbone import TimmViT


class FixedPatches(DefaultTrainer):
    """Trains a classifier with a frozen patch projection, which makes ViTs stabler (Chen et al., 2021, MoCo v3)."""

    def build_model(self) -> Trainable:
        """Build the model of the config, and freeze the patch projection of its backbone."""
        model = super().build_model()
        backbone = cast(TimmViT, cast(Classifier, model.export()).backbone)
        backbone.net.patch_embed.requires_grad_(False)
        return model
