"""A classifier in training under noise: m noisy copies, and a loss that compares them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from dmaelab.corruptions import Corrupted, Corruption
from dmaelab.losses import ClassificationLoss
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.mixing import Mix, Mixing
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw


class LossContext:
    """All that a loss may know of one micro-batch, and nothing of the trainer.

    Attributes:
        classifier: [0,1] images -> logits.
        images: clean images [N,C,H,W] in [0,1].
        targets: classes [N], int64; where the batch is mixed, probabilities [N,K], float32.
        progress: share of the training that is done, in [0, 1).
        draw: parent of any random numbers of the loss's own; take children.
        aux: frozen models by name, outside the module tree.
    """

    def __init__(
        self,
        classifier: nn.Module,
        corruption: Corruption,
        batch: Any,
        copies: int,
        aux: Mapping[str, nn.Module],
        mixing: Mixing | None = None,
    ) -> None:
        self.classifier = classifier
        self.images, self.targets, self.progress = batch.images, batch.targets, batch.progress
        self.draw: Draw = batch.draw.child("loss")
        self.aux = aux
        self._corruption, self._noise, self._copies = corruption, batch.draw.child("corruption"), copies
        self._mix_noisy: Mix | None = None
        if mixing is not None:
            height, width = batch.images.shape[-2:]
            mix = mixing.choose(height, width, batch.draw.child("mixing").host())
            self.targets = mix.targets(batch.targets, cast(Any, classifier).num_classes)
            if mixing.after_noise:
                self._mix_noisy = mix
            else:
                self.images = mix.images(batch.images)

    def noisy(self, images: Tensor | None = None, copies: int | None = None, tag: str = "train") -> Corrupted:
        """Return noisy copies, copy-major; the same ``tag`` gives the same noise, another one fresh noise."""
        images = self.images if images is None else images
        noisy = self._corruption(images, self._noise.child(tag), self._copies if copies is None else copies)
        return noisy if self._mix_noisy is None else noisy._replace(images=self._mix_noisy.images(noisy.images))

    @contextmanager
    def frozen(self) -> Iterator[nn.Module]:
        """Yield the classifier in evaluation mode with parameters that take no gradient; restores both after."""
        modules = {module: module.training for module in self.classifier.modules()}
        parameters = {parameter: parameter.requires_grad for parameter in self.classifier.parameters()}
        try:
            self.classifier.eval()
            self.classifier.requires_grad_(False)
            yield self.classifier
        finally:
            for module, training in modules.items():
                module.training = training
            for parameter, requires_grad in parameters.items():
                parameter.requires_grad_(requires_grad)


class NoisyClassifier(nn.Module):
    """The trainable wrapper of a classifier (paper, Eqs. 6-8); its checkpoints give back the plain one.

    Args:
        classifier: what is trained, certified and deployed.
        corruption: noise in [0,1] pixel space, at the images' native size.
        loss: a classification loss; ``loss.copies`` noisy copies are drawn.
        mixing: mixup and CutMix of training batches; ``None`` mixes nothing.
        train_backbone: ``False`` trains the head alone, on a backbone in evaluation mode: linear probing.
        votes: noisy copies of each image that vote in evaluation, without a bound; 0 leaves that out.

    Raises:
        ConfigError: mixing with a loss that needs hard labels.
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
        smoothing = getattr(loss, "label_smoothing", 0)
        if loss.needs_hard_labels and (mixing is not None or smoothing):
            soft = "mixing" if mixing is not None else f"label_smoothing={smoothing}"
            raise ConfigError(
                f"{type(loss).__name__} needs hard labels and {soft} makes soft ones: leave it out, or choose another"
                " loss"
            )
        self.classifier, self.corruption, self.loss, self.mixing = classifier, corruption, loss, mixing
        self.train_backbone, self.votes = train_backbone, votes
        if not train_backbone:
            classifier.backbone.requires_grad_(False)
        self.aux: dict[str, nn.Module] = {}

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a backbone that is not trained stays in evaluation."""
        super().train(mode)
        if not self.train_backbone:
            self.classifier.backbone.eval()
        return self

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Return the named scalar losses of a batch (``images, targets, draw, progress``)."""
        return self.loss(LossContext(self.classifier, self.corruption, batch, self.loss.copies, self.aux, self.mixing))

    @torch.no_grad()
    def evaluate(self, batch: Any) -> dict[str, Tensor]:
        """Return batch means: ``{"noisy_accuracy", "clean_accuracy", "noisy_loss"}``, one noisy copy per image.

        With ``votes`` also ``"smoothed_accuracy"``: of the class that most noisy copies get.
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

    def export(self) -> nn.Module:
        """Return the module whose weights a finished run keeps: the plain classifier."""
        return self.classifier

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the classifier's groups, for layer-wise learning-rate decay."""
        return self.classifier.layers()
