"""The sampler: the images of each micro-batch, as a function of seed and step only."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np

from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw


class MicroBatch(NamedTuple):
    """The step and number of one micro-batch, and the indices of its images."""

    step: int  # optimiser step
    micro: int  # number g within the step, over all ranks: g = accumulation round * world + rank
    epoch: int
    indices: np.ndarray  # int64 [batch_size]


class InfiniteSampler:
    """An endless iterable of the micro-batches of one rank.

    In epoch e the images are ordered by the permutation from ``Draw(seed, "data", e)``. A step takes the next
    ``batch_size * world * accum`` images and divides them into micro-batches, which are numbered over ranks and
    accumulation rounds. So 8 ranks, or 4 ranks with 2 rounds, train on the same data. An epoch has
    ``steps_per_epoch = floor(length / (batch_size * world * accum))`` steps; the remaining images are dropped.

    Args:
        length: number of images N.
        batch_size: number of images of one micro-batch on one rank.
        seed: seed of the run.
        world, rank: number of processes, and the rank of this one.
        accum: number of micro-batches that a rank accumulates in a step.
        start: the first step. Nothing else is needed to resume a run.

    Raises:
        UserError: a number is out of range, or the data set has fewer images than one step needs.
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
                f" accumulated), but the data set has {length}: lower batch_size"
            )
        self.length, self.batch_size, self.seed, self.start = length, batch_size, seed, start
        self.world, self.rank, self.accum = world, rank, accum
        self.steps_per_epoch = length // images_per_step

    def __iter__(self) -> Iterator[MicroBatch]:
        epoch, order = -1, np.arange(0)
        for step in count(self.start):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = Draw(self.seed, "data", epoch).host().permutation(self.length)
            first = step % self.steps_per_epoch * self.accum * self.world
            for micro in range(self.rank, self.accum * self.world, self.world):
                begin = (first + micro) * self.batch_size
                yield MicroBatch(step, micro, epoch, order[begin : begin + self.batch_size])
