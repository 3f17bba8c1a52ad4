"""Certification of many images: images in, log rows out, restartable at any point."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.certificate import Certificate
from dmaelab.records.log import CertificationLog
from dmaelab.records.row import make_row
from dmaelab.smoothing.identity import make_context, make_identity
from dmaelab.smoothing.noise import Address
from dmaelab.smoothing.progress import Progress
from dmaelab.smoothing.smoothing import Smoothing
from dmaelab.smoothing.votes import Flight, VotePool
from dmaelab.utils.errors import MachineError, UserError

logger = logging.getLogger("dmaelab")

Row = dict[str, Any]


def certify_images(
    smoothing: Smoothing,
    images: Callable[[int], tuple[Tensor, int]],
    indices: Sequence[int],
    certifier: Certifier,
    *,
    out: str | Path,
    shard: tuple[int, int] = (0, 1),
    identity: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    progress: bool = True,
) -> list[Row]:
    """Certify (or predict) images and append one row per image to a log. Images that have a row are skipped.

    The rows depend on the identity alone, up to rounding of near ties. They do not depend on the order of ``indices``,
    on the number of shards, on which images share a batch, or on whether the run was killed and restarted. But these
    move samples to other places in their batches. For some layers this changes the last bits of logits, such as a
    linear layer of odd width on a CPU, and then two almost equal logits may change their order.

    Args:
        smoothing: the smoothed classifier, such as a :class:`SmoothedClassifier`.
        images: function from an index to (float image [C,H,W] in [0,1], label); all images have one shape.
        indices: indices of the images in the data set, without repetition.
        certifier: how votes are turned into a prediction and a radius.
        out: folder of the log.
        shard: ``(i, N)`` certifies positions i, i + N, ... of ``indices`` only.
        identity: further settings that determine the rows, such as plug-ins and attention. They are added to the
            identity in the header.
        context: further facts, such as the name of the data set. They are recorded but never compared.
        progress: show a progress bar on the terminal.

    Returns:
        The rows of this shard as dicts by column, sorted by index, including those of earlier runs.

    Raises:
        UserError: bad input, or the folder holds another certification.
        MachineError: the machine failed, for example because memory or the disk is full; finished rows are in the log.
    """
    indices = [int(index) for index in indices]
    mine = _positions(indices, shard)

    address = Address(smoothing.seed, "certify", min(indices))
    first, label = images(address.index)  # all images have its shape
    first, case = smoothing.admit(first, label, address)
    certifier.check(case)
    pool = VotePool(smoothing, tuple(first.shape))
    facts = make_identity(smoothing, certifier, indices=indices, first=(first.cpu(), int(label))) | (identity or {})
    notes = make_context(smoothing.device) | (context or {})
    logger.info("certifying %d images at sigma %g (= %g/255): %s", len(mine), facts["sigma"], 255 * facts["sigma"], out)

    with CertificationLog(
        out, identity=facts, context=notes, columns=certifier.columns, shard=shard, indices=indices
    ) as log:
        todo = [index for index in mine if index not in log.done]
        # A generator: an image is loaded only when the pool has room for it.
        flights = (Flight(smoothing, certifier, Address(smoothing.seed, "certify", i), *images(i)) for i in todo)
        with Progress(len(mine), [log.done[index] for index in mine if index in log.done], hide=not progress) as bar:

            def deliver(flight: Flight, certificate: Certificate) -> None:
                log.append(_row(flight, certificate, certifier.columns))
                bar.add(log.done[flight.index])

            try:
                pool.run(flights, deliver)
            except MachineError as fault:
                left = "finished images are in the log: continue with the same command"
                raise MachineError(f"{fault}; {left}") from fault
        return [log.done[index] for index in sorted(mine)]


def _row(flight: Flight, certificate: Certificate, columns: Sequence[str]) -> Row:
    """Return the row of the log for one image and its certificate."""
    label, seconds = flight.case.label, time.perf_counter() - flight.started
    assert label is not None  # certify_images has the label of every image
    return make_row(
        flight.index,
        label,
        certificate.prediction,
        certificate.radius,
        seconds,
        extra={column: certificate.column(column) for column in columns},
    )


def check_shard(shard: tuple[int, int]) -> None:
    """Raise ``UserError`` if there is no shard ``(i, N)``."""
    part, parts = shard
    if not 0 <= part < parts:
        raise UserError(f"shard {part}/{parts} does not exist: give i/N with 0 <= i < N")


def _positions(indices: list[int], shard: tuple[int, int]) -> list[int]:
    """Return the indices of one shard; ``UserError`` if the shard or the indices are invalid."""
    check_shard(shard)
    part, parts = shard
    if not indices:
        raise UserError("no images to certify: the list of indices is empty")
    if min(indices) < 0:
        raise UserError(f"the list of indices holds {min(indices)}: count images from 0")
    if len(set(indices)) != len(indices):
        raise UserError("the list of indices names an image twice: each image has one row in the log")
    return indices[part::parts]
