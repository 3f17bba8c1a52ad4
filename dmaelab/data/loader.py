"""From data sets to micro-batches: the same ones for any number of workers, and after a resume."""

import atexit
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dmaelab.data.batch import Samples, to_device
from dmaelab.data.build import Dataset
from dmaelab.data.sampler import InfiniteSampler, MicroBatch
from dmaelab.data.seeding import global_generators
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

Transform = Callable[[Tensor], Tensor]
Augmentation = Callable[[Tensor, np.random.Generator], Tensor]

# A scheduler signals every process of a job. The main one decides what to do; a worker that dies of the
# signal would take it down before it has saved.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class Loader:
    """An iterable of :class:`Samples`, one for each micro-batch of its ``sampler``.

    A ``UserError`` in a worker arrives as it was raised, in one line (torch's own loader would wrap it
    into the text of a traceback).
    """

    def __init__(self, fetch: "_Fetch", sampler: Any, num_workers: int, pin_memory: bool) -> None:
        self.sampler = sampler
        self._loader: DataLoader[Any] = DataLoader(
            fetch,  # type: ignore[arg-type]
            batch_size=None,  # a micro-batch is one item: it is fetched whole
            sampler=sampler,
            num_workers=num_workers,
            pin_memory=pin_memory,
            multiprocessing_context="fork" if num_workers > 0 else None,
            generator=torch.Generator(),  # it draws a seed for the workers, and must not take it from the global one
        )

    def __iter__(self) -> Iterator[Samples]:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # workers inherit it, from their first moment on
        try:
            batches: Any = iter(self._loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        samples = _raise_errors(batches)
        if self._loader.num_workers > 0:
            # The workers block SIGTERM, so they must be asked to end, in time: before multiprocessing's own
            # exit, which sends that signal and waits; and from outside a garbage cycle, in which the queue
            # that carries the question may be finalised first. _shutdown_workers is what torch's __del__ calls.
            atexit.register(weakref.finalize(samples, batches._shutdown_workers))
        return samples


def _raise_errors(items: Iterator[Samples | UserError]) -> Iterator[Samples]:
    for item in items:
        if isinstance(item, UserError):
            raise item
        yield item


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
) -> Loader:
    """Return the endless loader of one rank, from step ``start_step`` on: ``accum`` micro-batches a step.

    Args:
        dataset: what to train on.
        batch_size: images of one micro-batch, on one rank.
        seed: of the run; with the step it decides everything.
        num_workers: processes that read and transform; 0 does it in this one.
        transform: applied to each image, in order, with the global generators set from (seed, epoch, index).
        augment: applied to each micro-batch, in order, with a generator from (seed, step, micro).
        world, rank, accum: see :class:`InfiniteSampler`, which is the loader's ``sampler``.
        start_step: the step to resume at.
        pin_memory: for asynchronous copies to a GPU.
        resident: keep all images on this device; look-ups and ``augment`` then run there, without workers, on
            the same pixels. See :func:`resident_device` for when that pays.

    Raises:
        UserError: if one step takes more images than there are, or images cannot be resident; while iterating, for
            an image that cannot be read and for images of different sizes.
    """
    sampler = InfiniteSampler(len(dataset), batch_size, seed, world, rank, accum, start_step)
    if resident is None:
        return Loader(_Fetch(dataset, seed, transform, augment), sampler, num_workers, pin_memory)
    if dataset.images is None or transform:
        raise UserError(
            "images can be resident on a device only where the data set holds them in memory and has no transform"
        )
    return Loader(_Fetch(dataset, seed, transform, augment, resident), sampler, num_workers=0, pin_memory=False)


def resident_device(dataset: Dataset, transform: Sequence[Transform], device: torch.device) -> torch.device | None:
    """Return what ``resident`` should be by default: a GPU for at most 1 GiB of images in memory that take no
    transform, else None.
    """
    images = dataset.images
    fits = images is not None and images.nbytes <= 2**30 and not transform
    return device if fits and device.type == "cuda" else None


def build_test_loader(
    dataset: Dataset, indices: Sequence[int], batch_size: int, num_workers: int = 0, pin_memory: bool = False
) -> Loader:
    """Return the loader of exactly ``indices``, in their order: no padding, and the last batch may be smaller."""
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: give a number >= 1")
    chunks = (
        np.asarray(indices[begin : begin + batch_size], dtype=np.int64) for begin in range(0, len(indices), batch_size)
    )
    batches = [MicroBatch(step, 0, 0, chunk) for step, chunk in enumerate(chunks)]
    return Loader(_Fetch(dataset), batches, num_workers, pin_memory)


class _Fetch:
    """Reads micro-batches; the "data set" that torch's loader sees, in its workers."""

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

    def __getitem__(self, batch: MicroBatch) -> Samples | UserError:
        try:
            return self._samples(batch)
        except UserError as error:
            return error

    def _samples(self, batch: MicroBatch) -> Samples:
        index = to_device(batch.indices.copy(), self.device)  # a copy: they are a view of the order of the epoch
        if self.images is not None:
            images, targets = self.images.index_select(0, index), self.targets[index]  # small sets: one look-up for all
        else:
            rows = [self._sample(batch.epoch, int(i)) for i in batch.indices]
            images, targets = (
                _stack([image for image, _ in rows], batch.indices),
                torch.tensor([target for _, target in rows]),
            )
        if self.augment:
            rng = Draw(self.seed, "data", "augment", batch.step, batch.micro).host()
            for augmentation in self.augment:
                images = augmentation(images, rng)
        return Samples(images, targets, index)

    def _sample(self, epoch: int, index: int) -> tuple[Tensor, int]:
        image, target = self.dataset.load(index)
        if self.transform:
            with global_generators(Draw(self.seed, "data", "transform", epoch, index).seed()):
                for transform in self.transform:
                    image = transform(image)
        return image, target


def _stack(images: list[Tensor], indices: np.ndarray) -> Tensor:
    """Return [N,C,H,W], contiguous whatever the strides of ``images`` are."""
    for image, index in zip(images, indices, strict=True):
        if image.shape != images[0].shape:
            sizes = f"{tuple(images[0].shape)} and {tuple(image.shape)}"
            raise UserError(
                f"images {indices[0]} and {index} differ in size, {sizes}: set the data set's image_size, or a"
                " transform"
            )
    return torch.stack(images).contiguous()
