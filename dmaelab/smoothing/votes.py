"""The pool: turns the vote requests of many images into batches of one fixed shape.

An image is "in flight" from the first request of its certifier until its certificate. Several images are in flight at
once, so that batches are full: the samples that they ask for are pooled into one batch, and its votes are then counted
for each image.
"""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.certificate import Certificate, Votes
from dmaelab.smoothing.arithmetic import fixed_kernels
from dmaelab.smoothing.forward import Forward
from dmaelab.smoothing.noise import Address, NoisyImage
from dmaelab.smoothing.probe import check_rows
from dmaelab.smoothing.smoothing import Smoothing, check_logits
from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_faults

LESS_MEMORY = (
    "lower batch_size (certify.batch_size in a config; a log that has rows keeps its batch size, so choose another"
    " certify.name as well)"
)


class Flight:
    """One image in flight: its certifier's coroutine, its noise, and the votes it waits for.

    Args:
        smoothing: the smoothed classifier.
        certifier: how the votes are turned into a certificate; the pool starts its coroutine.
        address: address of the noise, with the index of the image in the data set.
        image: float [C,H,W] in [0,1].
        label: the true class, None if it is not known.

    Attributes:
        case: the image as the certifier sees it.

    Raises:
        UserError: the image cannot be certified.
    """

    def __init__(
        self, smoothing: Smoothing, certifier: Certifier, address: Address, image: Tensor, label: int | None
    ) -> None:
        image, self.case = smoothing.admit(image, label, address)
        self.index, self.coroutine = address.index, certifier.certify(self.case)
        self.noise = NoisyImage(image, smoothing.corruption, address, smoothing.device)
        self.started = time.perf_counter()
        self.order = 0  # position in the order of admission to the pool
        self.sent: dict[str, int] = {}  # samples of each stream that are in some batch
        self.counts: dict[str, np.ndarray] = {}  # votes of each stream that have come back
        self.request = Votes("", 0)
        self.missing = 0  # samples of the request whose votes have not come back

    def advance(self, num_classes: int) -> Certificate | None:
        """Give the votes to the coroutine and run it until it needs more samples.

        Returns:
            None if the coroutine needs more samples, or the certificate if it has ended.
        """
        while True:
            try:
                # A coroutine is started with next(); there are counts only after that.
                self.request = (
                    self.coroutine.send(self.counts[self.request.stream].copy())
                    if self.counts
                    else next(self.coroutine)
                )
            except StopIteration as end:
                return _certificate(end.value, self.index)
            stream, total = self.request
            self.counts.setdefault(stream, np.zeros(num_classes + 1, np.int64))
            self.missing = total - self.sent.setdefault(stream, 0)
            if self.missing < 0:
                raise ValueError(
                    f"the certifier asked for {total} samples of '{stream}' after {self.sent[stream]}: totals may"
                    " only grow"
                )
            if self.missing:
                return None

    @property
    def wanted(self) -> int:
        """Samples of the open request that are in no batch yet."""
        return self.request.total - self.sent[self.request.stream]

    def take(self, limit: int) -> Tensor:
        """Return the next noisy samples of the open request, at most ``limit``."""
        stream = self.request.stream
        samples = self.noise.samples(stream, self.sent[stream], min(limit, self.wanted))
        self.sent[stream] += len(samples)
        return samples

    def receive(self, votes: np.ndarray, rows: int) -> bool:
        """Add the votes of ``rows`` samples; return True if the request is complete."""
        self.counts[self.request.stream] += votes
        self.missing -= rows
        return self.missing == 0


class _Sent(NamedTuple):
    """A batch that was computed (or is being computed) and whose votes have not been read yet."""

    parts: list[tuple[Flight, int]]  # who the rows belong to, and how many
    counts: Tensor  # int64 [len(parts), num_classes + 1] on the host, valid once `ready`
    ready: torch.cuda.Event | None  # None on a CPU


class VotePool:
    """Counts the votes of a classifier on noisy images, in batches of one shape.

    A batch is filled with samples of the images in flight, in the order of their admission. Another image is admitted
    only if the batch would not be full otherwise. So few images are in flight, and nearly nothing is padded. It does
    not matter which samples share a batch, up to rounding: noise is drawn by address, and each row is classified alone.
    Before the first batch :func:`~dmaelab.smoothing.probe.check_rows` looks whether it does.

    Args:
        smoothing: the smoothed classifier. Its module is put into eval mode, because the caller may have trained it
            since.
        shape: ``(C, H, W)`` of all images.

    Raises:
        UserError: during the run, a classifier that does not treat each row on its own, logits that are not
            [N, num_classes], or not finite.
        MachineError: the machine failed, for example because memory is full.
    """

    @machine_faults(LESS_MEMORY)
    def __init__(self, smoothing: Smoothing, shape: tuple[int, ...]) -> None:
        smoothing.classifier.eval()
        self.smoothing, self.shape, self.batch_size = smoothing, shape, smoothing.batch_size
        self.num_classes, self.device = smoothing.num_classes, smoothing.device
        self._images = smoothing.arithmetic.images(self.batch_size, shape, self.device)
        self._offsets = torch.zeros(self.batch_size, dtype=torch.int64, device=self.device)
        self._ones = torch.ones(self.batch_size, dtype=torch.int64, device=self.device)

    @machine_faults(LESS_MEMORY)
    def run(self, flights: Iterable[Flight], deliver: Callable[[Flight, Certificate], None]) -> None:
        """Run every flight until it has a certificate, and call ``deliver`` with both, in the order of completion.

        ``flights`` is consumed lazily: the next image is taken only when there is room for it in a batch.
        """
        self._waiting: Iterator[Flight] = iter(flights)
        self._deliver = deliver
        self._open: list[tuple[int, Flight]] = []  # heap of flights with wanted samples, by order of admission
        self._admitted = 0
        self._last: _Sent | None = None
        # Not inference_mode: tensors that a module caches in its first forward could then never be used in training.
        # CUDA events are recorded on the current device, so it must be that of the classifier.
        here = torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()
        with here, torch.no_grad(), fixed_kernels(self.device):
            forward = Forward(self.smoothing.classifier, self._images, self.smoothing.arithmetic)
            while parts := self._fill():
                sent = self._send(forward(), parts)
                self._read()  # the votes of the previous batch, while this one runs
                self._last = sent

    def _fill(self) -> list[tuple[Flight, int]]:
        """Write the next batch into the buffer and return its parts; the list is empty if all is done."""
        parts: list[tuple[Flight, int]] = []
        used = 0
        while used < self.batch_size:
            if not self._open:
                # First admit an image, because reading waits for the device. Read before padding the batch, because
                # the votes may lead to new requests.
                if self._admit() or self._read():
                    continue
                break
            flight = self._open[0][1]
            start = used
            while used < self.batch_size and flight.wanted:
                samples = flight.take(self.batch_size - used)
                self._images[used : used + len(samples)] = samples
                used += len(samples)
            self._offsets[start:used] = len(parts) * (self.num_classes + 1)
            parts.append((flight, used - start))
            if not flight.wanted:
                heapq.heappop(self._open)
        return parts

    def _send(self, logits: object, parts: list[tuple[Flight, int]]) -> _Sent:
        """Queue the counting of the votes and their copy to the CPU, without waiting for the device."""
        logits = check_logits(logits, self.batch_size, self.num_classes)
        rows = sum(rows for _, rows in parts)
        entries = self.num_classes + 1
        votes = torch.where(logits.isfinite().all(1), logits.argmax(1), self.num_classes)  # ties: the lowest class
        counts = torch.zeros(len(parts) * entries, dtype=torch.int64, device=self.device)
        counts.index_add_(0, (self._offsets + votes)[:rows], self._ones[:rows])
        host = counts.view(len(parts), entries).to("cpu", non_blocking=True)
        ready = None
        if self.device.type == "cuda":
            ready = torch.cuda.Event()
            ready.record()
        return _Sent(parts, host, ready)

    def _read(self) -> bool:
        """Read the votes of the last batch and continue its coroutines; return False if there is no such batch."""
        if self._last is None:
            return False
        parts, counts, ready = self._last
        self._last = None
        if ready is not None:
            ready.synchronize()
        for (flight, rows), votes in zip(parts, counts.numpy(), strict=True):
            if votes[-1] and self.smoothing.on_invalid == "stop":
                raise UserError(
                    f"{flight.noise.name}: {votes[-1]} of {rows} outputs of the classifier are not finite (nan or"
                    f" inf), for example because {self.smoothing.arithmetic.precision} overflows; fix it, or go on"
                    " with on_invalid='count' (certify.on_invalid=count in a config), which counts them as a class of"
                    " their own that is never predicted"
                )
            if flight.receive(votes, rows):
                self._advance(flight)
        return True

    def _admit(self) -> bool:
        """Admit the next image; return False if there is none."""
        flight = next(self._waiting, None)
        if flight is None:
            return False
        if not self._admitted:
            check_rows(self.smoothing, self.shape)
        if flight.noise.shape != self.shape:
            raise UserError(
                f"{flight.noise.name} has the shape {list(flight.noise.shape)}, not {list(self.shape)} as the first:"
                " crop or resize"
            )
        self._admitted += 1
        flight.order = self._admitted
        self._advance(flight)
        return True

    def _advance(self, flight: Flight) -> None:
        certificate = flight.advance(self.num_classes)
        if certificate is None:
            heapq.heappush(self._open, (flight.order, flight))
        else:
            self._deliver(flight, certificate)


def _certificate(value: object, index: int) -> Certificate:
    if not isinstance(value, Certificate):
        raise TypeError(
            f"the certifier returned {type(value).__name__} for image {index}: certify(case) must return a Certificate"
        )
    return value
