from itertools import islice

import numpy as np
import pytest

from dmaelab.data import InfiniteSampler
from dmaelab.utils.errors import UserError


def take(sampler, count):
    return list(islice(sampler, count))


def step_indices(ranks, accum, step, batch_size=3, length=100, seed=1):
    """The images of one step by their number g, gathered over the ranks."""
    batches = [
        take(InfiniteSampler(length, batch_size, seed, ranks, rank, accum, start=step), accum) for rank in range(ranks)
    ]
    return {batch.micro: batch.indices.tolist() for of_rank in batches for batch in of_rank}


@pytest.mark.parametrize("step", [0, 3, 4, 9])  # 4 steps an epoch
@pytest.mark.parametrize(("ranks", "accum"), [(8, 1), (4, 2), (2, 4)])
def test_ranks_and_accumulation_share_the_work_alike(ranks, accum, step):
    alone = step_indices(1, 8, step)
    assert sorted(alone) == list(range(8))
    assert step_indices(ranks, accum, step) == alone


def test_an_epoch_shows_each_image_once_and_drops_its_tail():
    sampler = InfiniteSampler(length=23, batch_size=3, seed=0, accum=2)
    assert sampler.steps_per_epoch == 3
    batches = take(sampler, 3 * 2 * 4)
    orders = []
    for epoch in range(4):
        own = [batch for batch in batches if batch.epoch == epoch]
        assert [(batch.step, batch.micro) for batch in own] == [
            (3 * epoch + step, micro) for step in range(3) for micro in range(2)
        ]
        shown = np.concatenate([batch.indices for batch in own])
        assert len(shown) == 18 == len(set(shown.tolist()))
        assert 0 <= shown.min() <= shown.max() < 23
        orders.append(shown.tolist())
    assert len(set(map(tuple, orders))) == 4  # epochs differ
    assert set().union(*orders) == set(range(23))  # no image is always in the tail


@pytest.mark.parametrize("start", range(9))
def test_resume_at_any_step(start):
    straight = take(InfiniteSampler(23, 3, seed=5, accum=2), 24)[2 * start :]
    resumed = take(InfiniteSampler(23, 3, seed=5, accum=2, start=start), len(straight))
    for one, other in zip(straight, resumed, strict=True):
        assert one[:3] == other[:3]
        np.testing.assert_array_equal(one.indices, other.indices)


def test_the_seed_matters():
    first = [take(InfiniteSampler(50, 25, seed), 1)[0].indices.tolist() for seed in (0, 1)]
    assert first[0] != first[1]


def test_fewer_images_than_a_step_takes():
    assert InfiniteSampler(24, 3, 0, world=4, accum=2).steps_per_epoch == 1
    with pytest.raises(UserError, match=r"a step takes 24 images .*, but the data set has 23: lower batch_size"):
        InfiniteSampler(23, 3, 0, world=4, accum=2)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"accum": 0}, {"start": -1}, {"rank": 1}, {"world": 0}])
def test_impossible_arguments(wrong):
    with pytest.raises(UserError):
        InfiniteSampler(**{"length": 10, "batch_size": 2, "seed": 0, **wrong})
