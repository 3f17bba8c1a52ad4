"""The main entry point: a smoothed classifier around any PyTorch module."""

import contextlib
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.build import CERTIFIERS, build_certifier
from dmaelab.certifiers.certificate import ABSTAIN, Certificate
from dmaelab.corruptions import build_corruption
from dmaelab.rules.compilation import Compile
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.noise import Address
from dmaelab.smoothing.runner import Row, certify_images
from dmaelab.smoothing.smoothing import Smoothing
from dmaelab.smoothing.votes import Flight, VotePool
from dmaelab.utils.errors import UserError
from dmaelab.utils.signatures import signature_of


class LabelledImages(Protocol):
    """A data set: ``dataset[index]`` is a float image [C,H,W] in [0,1] and its label."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]: ...


class SmoothedClassifier(Smoothing):
    """The classifier ``g(x) = argmax_c P(f(x + noise) = c)`` of a base classifier f (Cohen et al., 2019).

    ::

        smoothed = SmoothedClassifier(model, num_classes=10, sigma=0.25)
        prediction, radius = smoothed.certify(image, 100, 10_000, 0.001, 256)
        if prediction != SmoothedClassifier.ABSTAIN: ...

    Args:
        base_classifier: any module that maps [0,1] images [N,C,H,W] to logits [N,K]. Resizing and normalisation
            belong inside it. It is put into eval mode.
        num_classes: number of classes K.
        sigma: level of the noise, in [0,1] pixel units (0.25 is 63.75 of 255).
        seed: seed of the noise.
        certifier: name, or ``{"name": ..., **options}``; n0, n and alpha are arguments of the methods.
        corruption: name, or ``{"name": ..., **options}`` without sigma.
        precision: ``"fp32"`` (without TF32), ``"bf16"`` or ``"fp16"`` (autocast), or ``"auto"``: bf16 if the device
            supports it. A certificate is for the network as it is evaluated, so this setting is part of it.
        device: device to move the module to; None leaves the module where it is.
        compile: ``True`` compiles the module with ``torch.compile``; ``"blocks"`` compiles only its repeated blocks,
            which starts faster.
        cuda_graph: on a GPU, record the forward once and replay it. This helps small networks, which otherwise wait for
            the CPU.
        channels_last: use the channels-last memory format, which can make convolutions faster.
        on_invalid: what to do if logits are not finite: ``"stop"`` with an error, or ``"count"`` them as a class of
            their own. That class is never predicted, but its votes count against the predicted class.
        own_randomness: whether the module may draw random numbers of its own; you then guarantee that they are
            independent from row to row and from call to call, see docs/certification.md.

    Raises:
        UserError: bad options; in the methods, images that are not float [C,H,W] in [0,1], labels that are
            none of the classes, logits that are not [N, num_classes], or a module whose rows depend on each other.
        MachineError: in the methods, the machine failed, for example because memory is full: lower ``batch_size``.

    Calls without ``index`` are numbered from 0, and the number is the address of their noise. So two objects with one
    seed draw the same noise. If images are split over several processes, pass ``index``. The object is a
    :class:`~dmaelab.smoothing.smoothing.Smoothing`, so ``certify_images`` and ``attack_certified`` take it as it is.
    """

    ABSTAIN = ABSTAIN

    def __init__(
        self,
        base_classifier: nn.Module,
        num_classes: int,
        sigma: float,
        *,
        seed: int = 0,
        certifier: str | Mapping[str, Any] = "cohen",
        corruption: str | Mapping[str, Any] = "gaussian",
        precision: str = "fp32",
        device: torch.device | str | None = None,
        compile: Compile = False,
        cuda_graph: bool = False,
        channels_last: bool = False,
        on_invalid: str = "stop",
        own_randomness: bool = False,
    ) -> None:
        super().__init__(
            base_classifier,
            build_corruption(**_options(corruption), sigma=sigma),
            num_classes,
            seed=seed,
            arithmetic=Arithmetic(precision, channels_last, compile, cuda_graph),
            device=device,
            on_invalid=on_invalid,
            own_randomness=own_randomness,
        )
        self._certifier = _options(certifier)
        build_certifier(**self._certifier)  # so that a wrong name or option is an error here, not in the first call
        self._calls = itertools.count()

    def __repr__(self) -> str:
        return (
            f"SmoothedClassifier({type(self.base_classifier).__name__}, num_classes={self.num_classes},"
            f" sigma={self.sigma:g} (= {self.sigma * 255:g}/255), corruption={type(self.corruption).__name__},"
            f" certifier={self._certifier['name']}, precision={self.arithmetic.precision}, seed={self.seed})"
        )

    def certify(
        self, x: Tensor, n0: int, n: int, alpha: float, batch_size: int, index: int | None = None
    ) -> Certificate:
        """Certify one image: ``prediction, radius = smoothed.certify(...)``.

        Args:
            x: image, float [C,H,W] in [0,1].
            n0: number of samples that select the class.
            n: number of samples that estimate its probability.
            alpha: probability with which the certificate may be wrong.
            batch_size: rows of every batch; the last batch is padded.
            index: index of the image in its data set. The result is then the same as the image's row in a log with the
                same settings. None draws the noise of this call's number.

        Returns:
            The certificate. If nothing can be certified, its prediction is ``ABSTAIN`` and its radius 0. The radius is
            in [0,1] pixel units and in the norm of the corruption.
        """
        return self.with_batch_size(batch_size)._run(x, self._build(n0, n, alpha), index)

    def predict(self, x: Tensor, n: int, alpha: float, batch_size: int, index: int | None = None) -> int:
        """Return the class of the smoothed classifier for one image, or ABSTAIN.

        The answer is another class with probability at most alpha. The arguments are those of :meth:`certify`; no
        samples are needed for selection.
        """
        certifier = build_certifier("predict", n=n, alpha=alpha)
        return self.with_batch_size(batch_size)._run(x, certifier, index).prediction

    def certify_dataset(
        self,
        dataset: LabelledImages,
        n0: int,
        n: int,
        alpha: float,
        batch_size: int,
        *,
        out: str | Path | None = None,
        shard: tuple[int, int] = (0, 1),
        indices: Sequence[int] | None = None,
    ) -> list[Row]:
        """Certify the images of a data set and return the rows of the log, as dicts by column, sorted by index.

        A killed call continues if it is repeated with the same ``out``. The identity of the log holds the weights and
        the name of the module's class, the indices, and the first image. It does not see changed code or other changed
        images: use a new folder for these.

        Args:
            dataset: ``dataset[index] -> (image, label)``, float images [C,H,W] in [0,1] of one shape. The labels are
                whole numbers from 0 to num_classes - 1.
            n0, n, alpha, batch_size: as for :meth:`certify`.
            out: folder of the log (``header.json`` and one file per shard); None writes no log.
            shard: ``(i, N)`` certifies positions i, i + N, ... of ``indices`` only, for process i of N.
            indices: indices of the images; None means all.

        Raises:
            UserError: bad input, or the data set says (``num_classes`` or ``classes``) that it has more classes. It may
                have fewer, such as a part of a data set that lists only the classes in it.
        """
        count = _class_count(dataset)
        if count is not None and count > self.num_classes:
            raise UserError(
                f"the data set has {count} classes, but num_classes is {self.num_classes}: label k must mean the same"
                " class in both"
            )
        with contextlib.nullcontext(out) if out is not None else tempfile.TemporaryDirectory() as folder:
            return certify_images(
                self.with_batch_size(batch_size),
                dataset.__getitem__,
                range(len(dataset)) if indices is None else indices,
                self._build(n0, n, alpha),
                out=folder,
                shard=shard,
            )

    def _build(self, n0: int, n: int, alpha: float) -> Certifier:
        """Return the certifier; one that selects its class in another way may take no n0."""
        name = self._certifier["name"]
        selection = signature_of(CERTIFIERS.get(name), name).accepted({"n0": n0})
        return build_certifier(**self._certifier, **selection, n=n, alpha=alpha)

    def _run(self, x: Tensor, certifier: Certifier, index: int | None) -> Certificate:
        address = (
            Address(self.seed, "call", next(self._calls)) if index is None else Address(self.seed, "certify", index)
        )
        flight = Flight(self, certifier, address, x, None)
        certifier.check(flight.case)
        pool = VotePool(self, flight.noise.shape)
        results: list[Certificate] = []
        pool.run([flight], lambda _, certificate: results.append(certificate))
        return results[0]


def _class_count(dataset: Any) -> int | None:
    """Return the number of classes that a data set names; None if it names none, or maps its labels to others."""
    classes = getattr(dataset, "classes", None)
    count = getattr(dataset, "num_classes", len(classes) if isinstance(classes, (list, tuple)) else None)
    return count if isinstance(count, int) and getattr(dataset, "target_transform", None) is None else None


def _options(entry: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"name": ..., **options}``."""
    if isinstance(entry, str):
        return {"name": entry}
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise UserError(f"{entry!r} has no 'name': give a registered name, or a mapping with 'name' and options")
    return dict(entry)
