"""Which images go into which micro-batch: a function of the seed and the step, never of history."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np

from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw


class MicroBatch(NamedTuple):
    """The address of one micro-batch and the images in it."""

    step: int  # of the optimiser
    micro: int  # number g within the step, over ranks and accumulation: g = accumulation round * world + rank
    epoch: int
    indices: np.ndarray  # int64 [batch_size]


class InfiniteSampler:
    """The micro-batches of one rank, for ever.

    Epoch e runs through the permutation of ``Draw(seed, "data", e)``. A step takes the next
    ``batch_size * world * accum`` images of it and cuts them into micro-batches, numbered over ranks
    and accumulation, so that 8 ranks and 4 ranks x 2 rounds train on the same data. An epoch is
    ``steps_per_epoch = floor(length / that)`` whole steps; its tail is dropped.

    Args:
        length: number N of images.
        batch_size: images of one micro-batch, on one rank.
        seed: of the run.
        world, rank: number of processes, and which of them this is.
        accum: micro-batches that a rank accumulates in a step.
        start: the step to begin with; nothing else is needed to resume.
        shuffle: if False, every epoch runs through the images in their order.

    Raises:
        UserError: if the data set has fewer images than one step takes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        world: int = 1,
        rank: int = 0,
        accum: int = 1,
        start: int = 0,
        shuffle: bool = True,
    ) -> None:
        if min(batch_size, world, accum) < 1 or start < 0 or not 0 <= rank < world:
            raise UserError(
                f"batch_size={batch_size}, world={world}, accum={accum} must be >= 1, start={start} >= 0 and"
                f" rank={rank} below world"
            )
        images_per_step = batch_size * world * accum
        if length < images_per_step:
            raise UserError(
                f"a step takes {images_per_step} images (batch_size {batch_size} x {world} processes x {accum}"
                " accumulated) "
                f"but the data set has {length}: lower batch_size"
            )
        self.length, self.batch_size, self.seed, self.start, self.shuffle = length, batch_size, seed, start, shuffle
        self.world, self.rank, self.accum = world, rank, accum
        self.steps_per_epoch = length // images_per_step

    def __iter__(self) -> Iterator[MicroBatch]:
        epoch, order = -1, np.arange(0)
        for step in count(self.start):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = self._order(epoch)
            first = step % self.steps_per_epoch * self.accum * self.world
            for micro in range(self.rank, self.accum * self.world, self.world):
                begin = (first + micro) * self.batch_size
                yield MicroBatch(step, micro, epoch, order[begin : begin + self.batch_size])

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.length)
        return Draw(self.seed, "data", epoch).host().permutation(self.length)
