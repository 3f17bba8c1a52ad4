"""The context that a classification loss gets for one batch: clean and noisy images, targets, and the classifier."""

from contextlib import AbstractContextManager
from typing import cast

from torch import Tensor, nn

from dmaelab.corruptions import Corrupted, Corruption
from dmaelab.interfaces import Batch
from dmaelab.losses import LossContext
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.mixing import Mix, Mixing
from dmaelab.utils.freezing import frozen


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

    def frozen(self) -> AbstractContextManager[nn.Module]:
        """Return a context with the classifier in evaluation mode and its parameters frozen, see :func:`frozen`."""
        return frozen(self.classifier)
