"""The context that a classification loss gets for one batch: clean and noisy images, targets, and the classifier."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from dmaelab.corruptions import Corrupted, Corruption
from dmaelab.interfaces import Batch
from dmaelab.losses import LossContext
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.mixing import Mix, Mixing


class NoisyContext(LossContext):
    """The :class:`LossContext` of a batch; its attributes are described there.

    Args:
        classifier: maps [0,1] images to logits; it must be a :class:`Classifier` if the batch is mixed.
        corruption: noise in [0,1] pixel space.
        batch: clean images, classes and the address of all random numbers.
        copies: number of noisy copies of each image that :meth:`noisy` makes by default.
        mixing: how the batch is mixed, see :mod:`dmaelab.modeling.mixing`; ``None`` mixes nothing.
    """

    def __init__(
        self, classifier: nn.Module, corruption: Corruption, batch: Batch, copies: int, mixing: Mixing | None = None
    ) -> None:
        self.classifier = classifier
        self.images, self.targets, self.progress = batch.images, batch.targets, batch.progress
        self.draw = batch.draw.child("loss")
        self._corruption, self._noise, self._copies = corruption, batch.draw.child("corruption"), copies
        self._mix_noisy: Mix | None = None
        if mixing is not None:
            height, width = batch.images.shape[-2:]
            mix = mixing.choose(height, width, batch.draw.child("mixing").host())
            self.targets = mix.targets(batch.targets, cast(Classifier, classifier).num_classes)
            if mixing.after_noise:
                self._mix_noisy = mix
            else:
                self.images = mix.images(batch.images)

    def noisy(self, images: Tensor | None = None, copies: int | None = None, tag: str = "train") -> Corrupted:
        """Return noisy copies [copies*N,C,H,W] of images [N,C,H,W], see :meth:`LossContext.noisy`."""
        images = self.images if images is None else images
        noisy = self._corruption(images, self._noise.child(tag), self._copies if copies is None else copies)
        return noisy if self._mix_noisy is None else noisy._replace(images=self._mix_noisy.images(noisy.images))

    @contextmanager
    def frozen(self) -> Iterator[nn.Module]:
        """Yield the classifier in evaluation mode, with parameters that get no gradient; restore both at the end."""
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
