"""The front door: a smoothed classifier around anyone's module."""

import contextlib
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.certifiers.build import ABSTAIN, Certificate, Certifier, build_certifier
from dmaelab.corruptions import build_corruption
from dmaelab.rules.compilation import Compile
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.noise import Address
from dmaelab.smoothing.runner import Row, certify_images
from dmaelab.smoothing.smoothing import Smoothing
from dmaelab.smoothing.votes import Flight, VotePool
from dmaelab.utils.errors import UserError


class SmoothedClassifier(Smoothing):
    """The classifier ``g(x) = argmax_c P(f(x + noise) = c)`` of a base classifier f (Cohen et al., 2019).

    ::

        smoothed = SmoothedClassifier(model, num_classes=10, sigma=0.25)
        prediction, radius = smoothed.certify(image, 100, 10_000, 0.001, 256)
        if prediction != SmoothedClassifier.ABSTAIN: ...

    Args:
        base_classifier: any module, [0,1] images [N,C,H,W] -> logits [N,K]; resizing and normalisation
            belong inside it. It is put into eval mode.
        num_classes: K.
        sigma: level of the noise, in [0,1] pixel units (0.25 is 63.75 of 255).
        seed: of the noise.
        certifier: name, or ``{"name": ..., **options}``; n0, n and alpha come with the call.
        corruption: name, or ``{"name": ..., **options}``; sigma comes from here.
        precision: ``"fp32"`` (without TF32), ``"bf16"`` or ``"fp16"`` (autocast), or ``"auto"``: bf16 where the device
            has it. A certificate is for the network as it is evaluated.
        device: where to move the module; None leaves it.
        compile: run the module through ``torch.compile``, or only its repeated ``"blocks"``, which starts faster.
        cuda_graph: record the forward once and replay it, on a GPU, where a small network waits for the host.
        channels_last: evaluate in this memory format, which convolutions may prefer.
        on_invalid: ``"stop"`` with an error at logits that are not finite, or ``"count"`` them as a class
            of their own, which is never the prediction and never dropped.

    Raises:
        UserError: bad options; in the methods, images that are not float [C,H,W] in [0,1], or logits
            that are not [N, num_classes].

    Calls without ``index`` draw noise of their own, numbered from 0: two objects of one seed repeat it.
    Where images are split over processes, pass ``index``. It is a :class:`~dmaelab.smoothing.smoothing.Smoothing`,
    so it can be given to ``certify_images`` and ``attack_certified`` as it is.
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
    ) -> None:
        super().__init__(
            base_classifier,
            build_corruption(**_options(corruption), sigma=sigma),
            num_classes,
            seed=seed,
            arithmetic=Arithmetic(precision, channels_last, compile, cuda_graph),
            device=device,
            on_invalid=on_invalid,
        )
        self._certifier = _options(certifier)
        build_certifier(**self._certifier)  # a wrong name or option shows here, not in the first call
        self._calls = itertools.count()

    def __repr__(self) -> str:
        return (
            f"SmoothedClassifier({type(self.base_classifier).__name__}, num_classes={self.num_classes},"
            f" sigma={self.sigma:g}"
            f" (= {self.sigma * 255:g}/255), corruption={type(self.corruption).__name__},"
            f" certifier={self._certifier['name']},"
            f" precision={self.arithmetic.precision}, seed={self.seed})"
        )

    def certify(
        self, x: Tensor, n0: int, n: int, alpha: float, batch_size: int, index: int | None = None
    ) -> Certificate:
        """Certify one image; ``prediction, radius = smoothed.certify(...)``, prediction ABSTAIN if it cannot.

        Args:
            x: image, float [C,H,W] in [0,1].
            n0: samples that select the class.
            n: samples that estimate its probability.
            alpha: probability with which the certificate may be wrong.
            batch_size: rows of every batch; the last ones are padded.
            index: gives the row of this image in a log of the same settings; None draws noise of its own.
        """
        return self._run(x, build_certifier(**self._certifier, n0=n0, n=n, alpha=alpha), batch_size, index)

    def predict(self, x: Tensor, n: int, alpha: float, batch_size: int, index: int | None = None) -> int:
        """Return the smoothed classifier's class for one image, wrong with probability at most alpha, or ABSTAIN.

        Args as for :meth:`certify`, without a selection sample.
        """
        return self._run(x, build_certifier("predict", n=n, alpha=alpha), batch_size, index).prediction

    def certify_dataset(
        self,
        dataset: Any,
        n0: int,
        n: int,
        alpha: float,
        batch_size: int,
        *,
        out: str | Path | None = None,
        shard: tuple[int, int] = (0, 1),
        indices: Sequence[int] | None = None,
    ) -> list[Row]:
        """Certify the images of a data set, restartable, and return the rows of the log.

        The log's identity holds the weights and the name of the module's class, not its code, and of the data set the
        indices and the first image: give changed code and changed images a folder of their own.

        Args:
            dataset: ``dataset[index] -> (image, label)``, float images [C,H,W] in [0,1] of one shape.
            n0, n, alpha, batch_size: as for :meth:`certify`.
            out: folder of the log (``header.json`` and one file a shard); None keeps nothing but the result.
            shard: ``(i, N)``: positions i, i + N, ... of ``indices``, for one process of N.
            indices: of the images; None means all.
        """
        with contextlib.nullcontext(out) if out is not None else tempfile.TemporaryDirectory() as folder:
            return certify_images(
                self,
                dataset.__getitem__,
                range(len(dataset)) if indices is None else indices,
                build_certifier(**self._certifier, n0=n0, n=n, alpha=alpha),
                out=folder,
                batch_size=batch_size,
                shard=shard,
            )

    def _run(self, x: Tensor, certifier: Certifier, batch_size: int, index: int | None) -> Certificate:
        address = (
            Address(self.seed, "call", next(self._calls)) if index is None else Address(self.seed, "certify", index)
        )
        flight = Flight(self, certifier, address, x, None)
        certifier.check(flight.case)
        pool = VotePool(self, flight.noise.shape, batch_size)
        results: list[Certificate] = []
        pool.run([flight], lambda _, certificate: results.append(certificate))
        return results[0]


def _options(entry: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"name": ..., **options}``."""
    if isinstance(entry, str):
        return {"name": entry}
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise UserError(f"{entry!r} names nothing: give a registered name, or a mapping with 'name' and options")
    return dict(entry)
