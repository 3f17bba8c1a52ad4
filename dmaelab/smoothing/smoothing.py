"""The smoothed classifier: base classifier, noise, arithmetic and batch size in one object.

Certification, the identity of its log, and the attack on certificates all use it.
"""

import copy
import itertools
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from dmaelab.certifiers.case import Case, sampled_sigma
from dmaelab.corruptions import Corruption
from dmaelab.rules.compilation import compiled_as
from dmaelab.smoothing.arithmetic import FP32, Arithmetic
from dmaelab.smoothing.noise import Address, smoothing_noise
from dmaelab.stats.geometry import Geometry
from dmaelab.utils.class_labels import class_label
from dmaelab.utils.errors import UserError, did_you_mean

INVALID = ("stop", "count")
"""The two ways to treat logits that are not finite, see :class:`Smoothing`."""


class Smoothing:
    """The smoothed classifier ``g(x) = argmax_c P(f(x + noise) = c)`` (Cohen et al., 2019).

    It consists of a base classifier f, the noise, and how f is evaluated: in which arithmetic, and in batches of which
    size. Images, certifier and log are not part of it; they are arguments of the functions that use it.

    Args:
        base_classifier: f, maps [0,1] images [N,C,H,W] (noisy, unclamped) to logits [N, num_classes]. It is put into
            eval mode.
        corruption: the noise, with one sigma > 0 and a geometry.
        num_classes: number of classes K.
        seed: seed of all noise.
        arithmetic: precision, memory format, compilation and CUDA graphs; rules of the device replace None.
        batch_size: rows of every batch; the last one is padded. Kernels are chosen by shape, so the batch size can
            change the last bits of the logits.
        device: device to move the module to; None leaves the module where it is.
        on_invalid: what to do if logits are not finite: ``"stop"`` the run with an error that names the image, or
            ``"count"`` them as an extra class K. That class is never predicted, but its votes count against the
            predicted class.
        own_randomness: whether f may draw random numbers of its own. The caller then guarantees that they are
            independent from row to row and from call to call. Rows of a log cannot be repeated then.

    Attributes:
        classifier: the module that :meth:`Arithmetic.prepare` returned, which may be compiled. Votes come from it;
            gradients are taken through ``base_classifier``.
        device: device of the classifier and of the noise.

    Raises:
        UserError: not a module, fewer than two classes, a noise that certifies nothing, a batch size below 1, another
            ``on_invalid``, or an arithmetic that the device or the module does not allow.
    """

    def __init__(
        self,
        base_classifier: nn.Module,
        corruption: Corruption,
        num_classes: int,
        *,
        seed: int = 0,
        arithmetic: Arithmetic = FP32,
        batch_size: int = 256,
        device: torch.device | str | None = None,
        on_invalid: str = "stop",
        own_randomness: bool = False,
    ) -> None:
        if not isinstance(base_classifier, nn.Module):
            raise UserError(
                f"base_classifier is a {type(base_classifier).__name__}: give a torch.nn.Module that maps images to"
                " logits"
            )
        if num_classes < 2:
            raise UserError(f"num_classes is {num_classes}: give the number of logits of the classifier, at least 2")
        if on_invalid not in INVALID:
            raise UserError(
                f"on_invalid is '{on_invalid}'{did_you_mean(on_invalid, INVALID)}: choose one of {', '.join(INVALID)}"
            )
        self.corruption, self.num_classes, self.seed, self.on_invalid = corruption, num_classes, seed, on_invalid
        self.batch_size, self.own_randomness = _checked(batch_size), own_randomness
        smoothing_noise(corruption)  # raises if the noise certifies nothing
        self.base_classifier = base_classifier if device is None else base_classifier.to(device)
        self.device = device_of(base_classifier)
        asked = arithmetic.resolved(self.device)
        self.classifier = asked.prepare(base_classifier)
        self.arithmetic = replace(asked, compile=compiled_as(self.classifier))  # the caller may have compiled it

    def with_batch_size(self, batch_size: int) -> Self:
        """Return the same smoothed classifier with another batch size; the module is shared, not copied.

        Raises:
            UserError: a batch size below 1.
        """
        other = copy.copy(self)
        other.batch_size = _checked(batch_size)
        return other

    @property
    def geometry(self) -> Geometry:
        """The geometry of the noise: the norm of the radii, and how they follow from probabilities."""
        return smoothing_noise(self.corruption)[0]

    @property
    def sigma(self) -> float:
        """The level of the noise, in [0,1] pixel units."""
        return smoothing_noise(self.corruption)[1]

    def check(self, image: Tensor, name: str) -> Tensor:
        """Return an image as float32 [C,H,W].

        Args:
            image: the image.
            name: its name in error messages.

        Raises:
            UserError: it is not a float tensor [C,H,W] with values in [0,1], or the corruption refuses it.
        """
        image = check_image(image, name)
        self.corruption.check(image)
        return image

    def admit(self, image: Tensor, label: int | None, address: Address) -> tuple[Tensor, Case]:
        """Return the image that :meth:`check` returns, and the :class:`Case` that its certifier gets.

        Args:
            image: float [C,H,W] in [0,1].
            label: the true class, a whole number from 0 to K - 1; None if it is not known.
            address: address of the noise; it also names the image in error messages.

        Raises:
            UserError: :meth:`check` raises it, or the label is none of the classes.
        """
        image = self.check(image, address.name)
        geometry, sigma = smoothing_noise(self.corruption)
        tau = geometry.tau(sigma, image.numel())
        label = None if label is None else class_label(label, self.num_classes, address.name)
        return image, Case(
            self.num_classes, geometry, sampled_sigma(sigma), tau=tau, label=label, random=address.random
        )


def check_image(image: Tensor, name: str) -> Tensor:
    """Return ``image`` as float32 [C,H,W]; ``UserError`` if it is not a float tensor [C,H,W] in [0,1]."""
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = f"a {image.dtype} tensor" if isinstance(image, Tensor) else type(image).__name__
        raise UserError(f"{name} is {kind}: give a float tensor [C,H,W] with values in [0,1] (bytes: divide by 255)")
    if image.ndim != 3:
        raise UserError(f"{name} has the shape {list(image.shape)}: give one image [C,H,W], without a batch dimension")
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"{name} has values from {low:.4g} to {high:.4g}: give [0,1] pixel values; sigma and the radius are in"
            " these units, so scaling and normalisation belong inside the classifier"
        )
    return image.detach().float()


def check_logits(logits: object, rows: int, num_classes: int) -> Tensor:
    """Return the output of a classifier as logits [rows, num_classes]; ``UserError`` if it is anything else."""
    if not isinstance(logits, Tensor):
        raise UserError(
            f"the classifier returns a {type(logits).__name__}: wrap it in a module that returns the logits alone"
        )
    if logits.shape != (rows, num_classes):
        raise UserError(
            f"the classifier returns {list(logits.shape)} for {rows} images, but num_classes={num_classes}"
            f" needs [{rows}, {num_classes}]"
        )
    return logits


def _checked(batch_size: int) -> int:
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: give at least 1")
    return batch_size


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's first parameter or buffer; the CPU if it has none."""
    tensors = itertools.chain(module.parameters(), module.buffers(), [torch.empty(0, device="cpu")])
    return next(tensors).device
