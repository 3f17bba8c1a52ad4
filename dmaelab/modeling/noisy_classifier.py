"""A classifier that is trained under noise, with a loss on m noisy copies of each image."""

from typing import Self

import torch
from torch import Tensor, nn

from dmaelab.corruptions import Corruption
from dmaelab.interfaces import Batch, Trainable
from dmaelab.losses import ClassificationLoss
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.mixing import Mixing
from dmaelab.modeling.noisy_context import NoisyContext
from dmaelab.utils.errors import ConfigError


class NoisyClassifier(Trainable):
    """A classifier that is trained on noisy images (paper, Eqs. 6-8). The exported model is the plain classifier.

    Args:
        classifier: the classifier that is trained, and later certified and deployed.
        corruption: noise in [0,1] pixel space, at the images' native size.
        loss: a classification loss, on ``loss.copies`` noisy copies of each image.
        mixing: mixup and CutMix of training batches; ``None`` mixes nothing.
        train_backbone: ``False`` is linear probing: only the head is trained, and the backbone is in evaluation mode.
        votes: number of noisy copies of each image whose majority vote :meth:`evaluate` reports. It estimates the
            smoothed classifier's accuracy without any guarantee. 0 leaves it out.

    Raises:
        ConfigError: mixing or label smoothing with a loss that needs hard labels.
    """

    def __init__(
        self,
        classifier: Classifier,
        corruption: Corruption,
        loss: ClassificationLoss,
        mixing: Mixing | None = None,
        train_backbone: bool = True,
        votes: int = 0,
    ) -> None:
        super().__init__()
        if loss.needs_hard_labels and (mixing is not None or loss.label_smoothing):
            soft = "mixing" if mixing is not None else f"label_smoothing={loss.label_smoothing}"
            raise ConfigError(
                f"{type(loss).__name__} needs hard labels, but {soft} makes soft ones: leave it out, or choose another"
                " loss"
            )
        self.classifier, self.corruption, self.loss, self.mixing = classifier, corruption, loss, mixing
        self.train_backbone, self.votes = train_backbone, votes
        if not train_backbone:
            classifier.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation mode; a backbone that is not trained stays in evaluation mode."""
        super().train(mode)
        if not self.train_backbone:
            self.classifier.backbone.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named scalars of the loss, on noisy copies of the batch."""
        return self.loss(NoisyContext(self.classifier, self.corruption, batch, self.loss.copies, self.mixing))

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Return batch means: ``{"noisy_accuracy", "clean_accuracy", "noisy_loss"}``, with one noisy copy per image.

        If ``votes`` > 0, also ``"smoothed_accuracy"``, the accuracy of the majority vote of so many noisy copies.
        """
        noisy = self.classifier(self.corruption(batch.images, batch.draw.child("corruption")).images).float()
        clean = self.classifier(batch.images).float()
        metrics = {
            "noisy_accuracy": (noisy.argmax(dim=1) == batch.targets).float().mean(),
            "clean_accuracy": (clean.argmax(dim=1) == batch.targets).float().mean(),
            "noisy_loss": nn.functional.cross_entropy(noisy, batch.targets),
        }
        if self.votes:
            counts = torch.zeros_like(noisy, dtype=torch.int64)
            for vote in range(self.votes):
                copy = self.corruption(batch.images, batch.draw.child("vote", vote)).images
                counts += nn.functional.one_hot(self.classifier(copy).argmax(dim=1), noisy.shape[1])
            metrics["smoothed_accuracy"] = (counts.argmax(dim=1) == batch.targets).float().mean()
        return metrics

    def export(self) -> Classifier:
        """Return the module whose weights a finished run keeps: the plain classifier."""
        return self.classifier

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the classifier's groups, for layer-wise learning-rate decay."""
        return self.classifier.layers()
