"""Loaders: they yield the same micro-batches for any number of workers, and after a run is resumed."""

import atexit
import signal
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from dmaelab.data.base import Dataset
from dmaelab.data.batch import Samples, to_device
from dmaelab.data.sampler import InfiniteSampler, MicroBatch
from dmaelab.data.workers import end_workers, killed
from dmaelab.utils.errors import MachineError, UserError
from dmaelab.utils.machine import machine_error
from dmaelab.utils.random import Draw
from dmaelab.utils.seeding import global_generators
from dmaelab.utils.signals import STOP

Transform = Callable[[Tensor], Tensor]
Augmentation = Callable[[Tensor, np.random.Generator], Tensor]

# A scheduler sends its signals to every process of a job. Workers must ignore them and leave the reaction to the main
# process: if a worker died, the main process would fail before it has saved its state.
_SIGNALS = (*STOP, signal.SIGINT)


class Loader:
    """An iterable of :class:`Samples`, one for each micro-batch of its ``sampler``.

    A ``UserError`` in a worker is raised unchanged in the main process. (torch's own loader would put the whole
    traceback into its message.) If a worker is killed, or memory or shared memory is full, or a micro-batch does not
    arrive in time, a ``MachineError`` is raised where the next micro-batch is asked for.

    Args:
        fetch: makes the samples of a micro-batch.
        sampler: an iterable of micro-batches.
        num_workers: number of processes; 0 loads in this process.
        pin_memory: put samples in pinned memory.
        timeout: seconds to wait for a micro-batch of the workers; None waits for ever.
    """

    def __init__(
        self, fetch: "_Fetch", sampler: Any, num_workers: int, pin_memory: bool, timeout: float | None = None
    ) -> None:
        self.sampler = sampler
        self._asked = _Recorded(sampler)
        self._loader: DataLoader[Any] = DataLoader(
            fetch,  # type: ignore[arg-type]
            batch_size=None,  # one item of ``fetch`` is a whole micro-batch
            sampler=self._asked,
            num_workers=num_workers,
            pin_memory=pin_memory,
            multiprocessing_context="fork" if num_workers > 0 else None,
            timeout=(timeout or 0) if num_workers > 0 else 0,
            generator=torch.Generator(),  # for the seed of the workers, so that the global generator is not used
        )

    def __iter__(self) -> Iterator[Samples]:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # workers inherit this mask when they start
        child_ended = signal.getsignal(signal.SIGCHLD)
        try:
            batches: Any = iter(self._loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if signal.getsignal(signal.SIGCHLD) is not child_ended:
                # torch's handler raises when a worker is killed, wherever the main process is then, even in the middle
                # of an optimizer step. Without it, torch notices the worker when it waits for the next item.
                signal.signal(signal.SIGCHLD, child_ended)
        samples = _raise_errors(self._in_time(batches, self._asked.record), getattr(batches, "_workers", []))
        if self._loader.num_workers > 0:
            # The workers block SIGTERM, so they must be asked to end before multiprocessing's exit handler sends that
            # signal and waits for them. This must not depend on garbage collection of a cycle, which may finalise the
            # queue to the workers first. torch's own __del__ calls _shutdown_workers, too.
            atexit.register(weakref.finalize(samples, end_workers, batches))
        return samples

    def _in_time(self, items: Iterator[Any], asked: deque[MicroBatch]) -> Iterator[Any]:
        """Yield the items; raise ``MachineError`` if one does not arrive in time.

        Args:
            items: torch's iterator.
            asked: the micro-batches that were asked for and have not arrived, in their order.
        """
        while True:
            try:
                item = next(items)
            except StopIteration:
                return
            except RuntimeError as error:
                if "timed out after" not in str(error):  # torch has no class of its own for this error
                    raise
                raise MachineError(self._late(asked[0])) from None
            asked.popleft()
            yield item

    def _late(self, batch: MicroBatch) -> str:
        images = ", ".join(map(str, batch.indices[:5])) + (", ..." if len(batch.indices) > 5 else "")
        return (
            f"the loader's workers sent no batch within {self._loader.timeout:g} s (train.data_timeout), while batch"
            f" {batch.micro} of step {batch.step} was waited for (images {images} of the data set): see whether these"
            " files can be read, or give more time"
        )


class _Recorded:
    """The micro-batches of a sampler; those of the last iteration are also appended to ``record``."""

    def __init__(self, sampler: Iterable[MicroBatch]) -> None:
        self.sampler = sampler
        self.record: deque[MicroBatch] = deque()

    def __iter__(self) -> Iterator[MicroBatch]:
        self.record = deque()
        return self._recorded(self.record)

    def _recorded(self, record: deque[MicroBatch]) -> Iterator[MicroBatch]:
        for batch in self.sampler:
            record.append(batch)
            yield batch


def _raise_errors(items: Iterator[Samples | Exception], workers: Sequence[Any]) -> Iterator[Samples]:
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:
            fault = killed(workers) or machine_error(error, _LESS_MEMORY)
            if fault is None:
                raise
            raise fault from error
        if isinstance(item, Exception):
            raise item
        yield item


_LESS_MEMORY = "lower num_workers (train.num_workers in a config) or the batch size"


def build_train_loader(
    dataset: Dataset,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    transform: Sequence[Transform] = (),
    augment: Sequence[Augmentation] = (),
    world: int = 1,
    rank: int = 0,
    accum: int = 1,
    start_step: int = 0,
    pin_memory: bool = False,
    resident: torch.device | None = None,
    timeout: float | None = None,
) -> Loader:
    """Return the endless training loader of one rank, which yields ``accum`` micro-batches per step.

    Args:
        dataset: the training set.
        batch_size: number of images of one micro-batch on one rank.
        seed: seed of the run; the images and their transforms depend only on it and on the step.
        num_workers: number of processes that read and transform images; 0 does it in this process.
        transform: transforms of one image, applied in order. The global generators are seeded from (seed, epoch,
            index) for each image.
        augment: augmentations of one micro-batch, applied in order. They get a generator seeded from (seed, step,
            micro).
        world, rank, accum: see :class:`InfiniteSampler`, which is the loader's ``sampler``.
        start_step: the first step, for resuming a run.
        pin_memory: put samples in pinned memory, for asynchronous copies to a GPU.
        resident: keep all images on this device. Micro-batches are then selected and augmented on the device, without
            workers, and have the same pixels. See :func:`resident_device` for when this is faster.
        timeout: seconds to wait for a micro-batch of the workers; None waits for ever.

    Raises:
        UserError: one step needs more images than the data set has, or the images cannot be resident. While iterating:
            an image cannot be read, or images have different sizes.
        MachineError: while iterating: no micro-batch arrived within ``timeout``.
    """
    sampler = InfiniteSampler(len(dataset), batch_size, seed, world, rank, accum, start_step)
    if resident is None:
        return Loader(_Fetch(dataset, seed, transform, augment), sampler, num_workers, pin_memory, timeout)
    if dataset.images is None or transform:
        raise UserError(
            "images can be resident on a device only if the data set holds them in memory and has no transform"
        )
    return Loader(_Fetch(dataset, seed, transform, augment, resident), sampler, num_workers=0, pin_memory=False)


def resident_device(dataset: Dataset, transform: Sequence[Transform], device: torch.device) -> torch.device | None:
    """Return the default of ``resident`` in :func:`build_train_loader`: ``device`` or None.

    It is the device if that is a GPU and the data set has at most 1 GiB of images in memory and no transform.
    """
    images = dataset.images
    fits = images is not None and images.nbytes <= 2**30 and not transform
    return device if fits and device.type == "cuda" else None


def build_test_loader(
    dataset: Dataset, indices: Sequence[int], batch_size: int, num_workers: int = 0, timeout: float | None = None
) -> Loader:
    """Return a loader of the images ``indices`` in this order, without padding; the last batch may be smaller.

    Args:
        dataset: the data set.
        indices: indices of the images.
        batch_size: number of images of a batch.
        num_workers: number of processes that read images; 0 reads them in this process.
        timeout: seconds to wait for a batch of the workers; None waits for ever.

    Raises:
        UserError: ``batch_size`` is less than 1.
        MachineError: while iterating: no batch arrived within ``timeout``.
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: give a number >= 1")
    chunks = (
        np.asarray(indices[begin : begin + batch_size], dtype=np.int64) for begin in range(0, len(indices), batch_size)
    )
    batches = [MicroBatch(step, 0, 0, chunk) for step, chunk in enumerate(chunks)]
    return Loader(_Fetch(dataset), batches, num_workers, pin_memory=False, timeout=timeout)


class _Fetch:
    """The data set that torch's loader sees in its workers: one item is a whole micro-batch."""

    def __init__(
        self,
        dataset: Dataset,
        seed: int = 0,
        transform: Sequence[Transform] = (),
        augment: Sequence[Augmentation] = (),
        device: torch.device | None = None,
    ) -> None:
        self.dataset, self.seed, self.transform, self.augment = dataset, seed, list(transform), list(augment)
        self.device = device or torch.device("cpu")
        self.images = None if transform or dataset.images is None else dataset.images.to(self.device)
        self.targets = dataset.targets.to(self.device)

    def __getitem__(self, batch: MicroBatch) -> Samples | UserError | MachineError:
        try:
            samples = self._samples(batch)
            if get_worker_info() is not None:
                # Put them into shared memory here. torch would do it in a thread, and an error there, such as a full
                # /dev/shm, would lose the item, for which the main process then waits for ever.
                for tensor in samples:
                    tensor.share_memory_()
            return samples
        except UserError as error:
            return error
        except Exception as error:
            fault = machine_error(error, _LESS_MEMORY)
            if fault is None:
                raise
            return fault

    def _samples(self, batch: MicroBatch) -> Samples:
        index = to_device(batch.indices.copy(), self.device)  # a copy, because it is a view of the epoch's permutation
        if self.images is not None:
            # One gather for the whole micro-batch.
            images, targets = self.images.index_select(0, index), self.targets[index]
        else:
            rows = [self._sample(batch.epoch, int(i)) for i in batch.indices]
            images = _stack([image for image, _ in rows], batch.indices)
            targets = torch.tensor([target for _, target in rows])
        if self.augment:
            rng = Draw(self.seed, "data", "augment", batch.step, batch.micro).host()
            for augmentation in self.augment:
                images = augmentation(images, rng)
        return Samples(images, targets, index)

    def _sample(self, epoch: int, index: int) -> tuple[Tensor, int]:
        image, target = self.dataset[index]
        if self.transform:
            with global_generators(Draw(self.seed, "data", "transform", epoch, index).seed()):
                for transform in self.transform:
                    image = transform(image)
        return image, target


def _stack(images: list[Tensor], indices: np.ndarray) -> Tensor:
    """Return the images as one contiguous tensor [N,C,H,W]; raise ``UserError`` if their sizes differ."""
    for image, index in zip(images, indices, strict=True):
        if image.shape != images[0].shape:
            sizes = f"{tuple(images[0].shape)} and {tuple(image.shape)}"
            raise UserError(
                f"images {indices[0]} and {index} differ in size, {sizes}: set the data set's image_size, or use"
                " a transform that crops"
            )
    return torch.stack(images).contiguous()
