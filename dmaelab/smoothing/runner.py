"""The one engine of certification: images in, log rows out, restartable at any point."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.certifiers.build import Case, Certificate, Certifier
from dmaelab.corruptions import Corruption
from dmaelab.records.log import CertificationLog
from dmaelab.records.row import make_row
from dmaelab.smoothing.arithmetic import FP32, Arithmetic
from dmaelab.smoothing.identity import make_context, make_identity
from dmaelab.smoothing.noise import Address, NoisyImage, check_image, smoothing_noise
from dmaelab.smoothing.progress import Progress
from dmaelab.smoothing.votes import Flight, VotePool
from dmaelab.utils.errors import UserError

logger = logging.getLogger("dmaelab")

Row = dict[str, Any]


def certify_images(
    classifier: nn.Module,
    images: Callable[[int], tuple[Tensor, int]],
    indices: Sequence[int],
    certifier: Certifier,
    corruption: Corruption,
    *,
    num_classes: int,
    out: str | Path,
    identity: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    shard: tuple[int, int] = (0, 1),
    batch_size: int = 256,
    arithmetic: Arithmetic = FP32,
    on_invalid: str = "stop",
    seed: int = 0,
    progress: bool = True,
) -> list[Row]:
    """Certify (or predict) images and append one row each to a log; what the log has already is skipped.

    The rows depend on the identity alone: not on the order of ``indices``, the number of shards,
    which images share a batch, or kills in between.

    Args:
        classifier: [0,1] images [N,C,H,W] (noisy, unclamped) -> logits [N, num_classes].
        images: index -> (float image [C,H,W] in [0,1], label); all images of one shape.
        indices: of the images, in the data set; without repetition.
        certifier: what to do with the votes.
        corruption: the noise, with one sigma > 0 and a geometry.
        num_classes: K.
        out: folder of the log.
        identity: what else determines the rows, such as plug-ins and attention; goes into the header.
        context: what else is worth knowing, such as the name of the data set; differences are no error.
        shard: ``(i, N)`` takes positions i, i + N, ... of ``indices``.
        batch_size: rows of every batch.
        arithmetic: the arithmetic of the forward.
        on_invalid: ``"stop"`` at logits that are not finite, or ``"count"`` them, as for :class:`VotePool`.
        seed: of the noise.
        progress: show a progress bar on the terminal.

    Returns:
        The rows of this shard by column, sorted by index, those of earlier runs among them.

    Raises:
        UserError: bad input, or a folder that holds another certification.
    """
    smoothing_noise(corruption)
    indices = [int(index) for index in indices]
    mine = _positions(indices, shard)
    device = device_of(classifier)
    address = Address(seed, "certify", min(indices))
    first, label = images(address.index)
    first = check_image(first, address.name)
    corruption.check(first)
    certifier.check(make_case(first.numel(), int(label), address, corruption, num_classes))
    pool = VotePool(classifier, num_classes, tuple(first.shape), batch_size, device, arithmetic, on_invalid)
    facts = make_identity(
        classifier, certifier, corruption, indices=indices, num_classes=num_classes, first=(first.cpu(), int(label)),
        batch_size=batch_size, arithmetic=pool.arithmetic, seed=seed, device=device,
    ) | (identity or {})  # fmt: skip
    notes = make_context(device) | (context or {})
    logger.info("certifying %d images at sigma %g (= %g/255): %s", len(mine), facts["sigma"], 255 * facts["sigma"], out)

    with CertificationLog(
        out, identity=facts, context=notes, columns=certifier.columns, shard=shard, indices=indices
    ) as log:
        todo = [index for index in mine if index not in log.done]
        labels: dict[int, int] = {}  # of the images in flight

        def flights() -> Iterator[Flight]:
            for index in todo:
                image, label = images(index)
                labels[index] = int(label)
                yield make_flight(
                    image, labels[index], Address(seed, "certify", index), certifier, corruption, num_classes, device
                )

        with Progress(len(mine), [log.done[index] for index in mine if index in log.done], hide=not progress) as bar:

            def deliver(flight: Flight, certificate: Certificate) -> None:
                prediction, radius = certificate
                extra = {column: certificate.column(column) for column in certifier.columns}
                seconds = time.perf_counter() - flight.started
                log.append(make_row(flight.index, labels.pop(flight.index), prediction, radius, seconds, extra))
                bar.add(log.done[flight.index])

            pool.run(flights(), deliver)
        return [log.done[index] for index in sorted(mine)]


def make_flight(
    image: Tensor,
    label: int | None,
    address: Address,
    certifier: Certifier,
    corruption: Corruption,
    num_classes: int,
    device: torch.device,
) -> Flight:
    """Return one image made ready for the pool; ``UserError`` if the image cannot be certified."""
    image = check_image(image, address.name)
    corruption.check(image)
    case = make_case(image.numel(), label, address, corruption, num_classes)
    return Flight(address.index, NoisyImage(image, corruption, address, device), certifier.certify(case))


def make_case(numel: int, label: int | None, address: Address, corruption: Corruption, num_classes: int) -> Case:
    """Return what a certifier sees of an image of ``numel`` numbers."""
    geometry, sigma = smoothing_noise(corruption)
    exact = min(sigma, float(torch.tensor(sigma)))  # the noise is scaled in float32: claim no more than that
    return Case(num_classes, geometry, exact, tau=geometry.tau(sigma, numel), label=label, random=address.random)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's first parameter or buffer, the CPU where it has none."""
    tensors = itertools.chain(module.parameters(), module.buffers(), [torch.empty(0, device="cpu")])
    return next(tensors).device


def _positions(indices: list[int], shard: tuple[int, int]) -> list[int]:
    """Return the indices of one shard."""
    part, parts = shard
    if not 0 <= part < parts:
        raise UserError(f"shard {part}/{parts} does not exist: give i/N with 0 <= i < N")
    if not indices:
        raise UserError("no images to certify: the list of indices is empty")
    if min(indices) < 0:
        raise UserError(f"the list of indices holds {min(indices)}: count images from 0")
    if len(set(indices)) != len(indices):
        raise UserError("the list of indices names an image twice: each image has one row in the log")
    return indices[part::parts]
