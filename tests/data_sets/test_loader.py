import gc
import os
import random
import signal
import subprocess
import sys
import time
from itertools import islice
from multiprocessing import active_children

import numpy as np
import pytest
import torch

from dmaelab.data import Dataset, Samples, build_test_loader, build_train_loader, make_batch, resident_device
from dmaelab.data.transforms import HorizontalFlip, RandomCrop
from dmaelab.utils.errors import MachineError, UserError
from dmaelab.utils.random import Draw


class Small(Dataset):
    """Twenty-three images that know their index, in memory or one by one."""

    def __init__(self, in_memory=True):
        images = torch.arange(23, dtype=torch.uint8).view(-1, 1, 1, 1) * 10 + torch.arange(9, dtype=torch.uint8).view(
            1, 1, 3, 3
        )
        super().__init__(torch.arange(23) % 4, "abcd", images if in_memory else None, image_shape=(1, 3, 3))
        self.source = images

    def load(self, index):
        return self.source[index].clone(), int(self.targets[index])


def jitter(image):
    """A transform that uses all three global generators."""
    total = random.random() + np.random.rand() + torch.rand(1)  # noqa: NPY002
    return image.float() / 255 + total


def take(loader, count):
    return list(islice(loader, count))


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
SETTINGS = [
    {},
    {"augment": [RandomCrop(1), HorizontalFlip()]},
    {"transform": [jitter]},
    {"transform": [jitter], "augment": [HorizontalFlip()]},
]


@pytest.mark.parametrize("setting", SETTINGS, ids=["plain", "augment", "transform", "both"])
def test_same_batches_for_any_number_of_workers_and_after_a_resume(setting):
    """Three steps an epoch, two micro-batches a step; resumed before, at and after the end of an epoch."""

    def loader(workers, start=0):
        return build_train_loader(Small(), 3, seed=4, num_workers=workers, accum=2, start_step=start, **setting)

    straight = take(loader(0), 16)
    assert same(straight, take(loader(2), 16))
    for start in (2, 3, 5):
        for workers in (0, 2):
            assert same(straight[2 * start :], take(loader(workers, start), 16 - 2 * start))


@pytest.mark.parametrize("setting", SETTINGS[:2], ids=["plain", "augment"])
def test_images_in_memory_take_a_short_cut_to_the_same_batches(setting):
    loaders = [build_train_loader(Small(in_memory), 4, seed=2, **setting) for in_memory in (True, False)]
    assert same(*(take(loader, 12) for loader in loaders))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_GPU])])
@pytest.mark.parametrize("setting", SETTINGS[:2], ids=["plain", "augment"])
def test_images_resident_on_a_device_give_the_same_batches(setting, device):
    """Two micro-batches a step, resumed at step 3; no workers are started, whatever is asked for."""
    before = set(active_children())
    host = take(build_train_loader(Small(), 3, seed=4, num_workers=2, accum=2, start_step=3, **setting), 12)
    here = set(active_children())
    loader = build_train_loader(
        Small(), 3, seed=4, num_workers=2, accum=2, start_step=3, resident=torch.device(device), **setting
    )
    batches = take(loader, 12)
    assert set(active_children()) <= here | before
    assert {tensor.device.type for samples in batches for tensor in samples} == {device}
    assert same(host, [[tensor.cpu() for tensor in samples] for samples in batches])


def test_what_cannot_be_resident():
    for dataset, transform in ((Small(in_memory=False), []), (Small(), [jitter])):
        with pytest.raises(UserError, match="holds them in memory and has no transform"):
            build_train_loader(dataset, 3, seed=0, transform=transform, resident=torch.device("cpu"))


def test_small_images_in_memory_are_resident_on_a_gpu_by_default():
    gpu = torch.device("cuda", 0)  # it is not asked for anything here
    assert resident_device(Small(), [], gpu) == gpu
    assert resident_device(Small(), [], torch.device("cpu")) is None
    assert resident_device(Small(), [jitter], gpu) is None
    assert resident_device(Small(in_memory=False), [], gpu) is None
    large = Dataset([0, 1], "ab", torch.zeros(1, dtype=torch.uint8).expand(2, 3, 2**15, 2**13))
    assert resident_device(large, [], gpu) is None


def test_a_batch_of_resident_samples_copies_nothing_but_uint8_images():
    samples = next(iter(build_train_loader(Small(), 3, seed=0, resident=torch.device("cpu"))))
    batch = make_batch(samples, torch.device("cpu"), Draw(0, "train", 0, 0), 0.0)
    assert (batch.targets.data_ptr(), batch.index.data_ptr()) == (samples.targets.data_ptr(), samples.index.data_ptr())


@pytest.mark.parametrize("setting", SETTINGS, ids=["plain", "augment", "transform", "both"])
@pytest.mark.parametrize(("world", "accum"), [(8, 1), (4, 2), (2, 4)])
def test_ranks_and_accumulation_see_the_same_micro_batches(world, accum, setting):

    def loader(**numbers):
        return build_train_loader(Small(), 1, seed=0, start_step=1, **numbers, **setting)

    alone = take(loader(accum=8), 16)
    ranks = [take(loader(world=world, rank=rank, accum=accum), 2 * accum) for rank in range(world)]
    gathered = [ranks[g % world][step * accum + g // world] for step in range(2) for g in range(8)]
    assert same(alone, gathered)


def test_rows_belong_together():
    samples = next(iter(build_train_loader(Small(), 20, seed=1)))
    assert isinstance(samples, Samples)
    assert samples.images.dtype == torch.uint8
    assert samples.targets.dtype == samples.index.dtype == torch.int64
    assert (samples.images[:, 0, 0, 0] == samples.index * 10 % 256).all()
    assert torch.equal(samples.targets, samples.index % 4)


def test_a_sample_is_transformed_anew_in_each_epoch_and_globals_are_left_alone():
    random.seed(3), np.random.seed(3), torch.manual_seed(3)  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    random.seed(3), np.random.seed(3), torch.manual_seed(3)  # noqa: NPY002
    epochs = take(build_train_loader(Small(), 23, seed=0, transform=[jitter]), 2)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected  # noqa: NPY002
    first, second = (batch.images[batch.index.argsort()] - Small().source / 255 for batch in epochs)
    added = torch.cat([first, second])[:, 0, 0, 0]
    assert len(added.unique()) == 46


def test_numbers_are_a_function_of_seed_epoch_and_index_not_of_the_batch():
    def by_index(batch_size, count):
        batches = take(build_train_loader(Small(), batch_size, seed=0, transform=[jitter]), count)
        return {int(i): image for batch in batches for i, image in zip(batch.index, batch.images, strict=True)}

    one, other = by_index(23, 1), by_index(2, 11)
    assert all(torch.equal(one[i], image) for i, image in other.items())


def test_test_loader_shows_exactly_what_was_asked_for():
    for workers in (0, 2):
        loader = build_test_loader(Small(), [22, 3, 3, 0, 9], 2, num_workers=workers)
        for _ in range(2):  # it can be run again
            batches = list(loader)
            assert [batch.index.tolist() for batch in batches] == [[22, 3], [3, 0], [9]]
            assert (batches[2].images == Small().source[9]).all()
    with pytest.raises(UserError, match="batch_size is 0"):
        build_test_loader(Small(), [0], 0)


def test_batches_are_contiguous_whatever_the_strides_of_the_images_are():
    class Interleaved(Dataset):
        def load(self, index):
            return torch.arange(24, dtype=torch.uint8).view(4, 2, 3).permute(2, 0, 1) + index, 0

    for count in (1, 3):
        images = next(iter(build_test_loader(Interleaved([0] * 3, ["a"]), list(range(count)), 3))).images
        assert images.shape == (count, 3, 4, 2)
        assert images.is_contiguous()
        assert torch.equal(images[-1, 2], torch.arange(2, 24, 3).view(4, 2) + count - 1)


def test_images_of_different_sizes():
    class Odd(Small):
        def load(self, index):
            image, target = super().load(index)
            return (image[:, :2] if index == 5 else image), target

    with pytest.raises(UserError, match=r"images 4 and 5 differ in size, \(1, 3, 3\) and \(1, 2, 3\)"):
        list(build_test_loader(Odd(in_memory=False), [4, 5], 2))


def test_workers_survive_the_signals_of_a_scheduler():
    before = set(active_children())
    batches = iter(build_train_loader(Small(), 3, seed=0, num_workers=2))
    workers = set(active_children()) - before  # at once: before they have run a line of Python
    assert len(workers) == 2
    for worker in workers:
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT):
            os.kill(worker.pid, number)
    assert same(take(batches, 9), take(build_train_loader(Small(), 3, seed=0), 9))


@pytest.mark.filterwarnings("error")
def test_workers_end_with_their_iterator_even_in_a_reference_cycle():
    before = set(active_children())
    cycle = [iter(build_train_loader(Small(), 3, seed=0, num_workers=2))]
    cycle.append(cycle)
    next(cycle[0])
    workers = set(active_children()) - before
    assert len(workers) == 2
    begin = time.monotonic()
    del cycle
    gc.collect()
    assert not any(worker.is_alive() for worker in workers)
    assert time.monotonic() - begin < 4  # torch waits 5 s for a worker that was not reached


@pytest.mark.parametrize("end", ["pass", "raise KeyError", "sys.exit(3)"])
def test_a_process_with_running_workers_ends_at_once(end):
    code = f"""
import sys, torch
from dmaelab.data import Dataset, build_train_loader
images = torch.zeros(8, 1, 2, 2, dtype=torch.uint8)
batches = iter(build_train_loader(Dataset([0] * 8, ["a"], images), 2, seed=0, num_workers=2))
next(batches)
{end}
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == {"pass": 0, "raise KeyError": 1, "sys.exit(3)": 3}[end], done.stderr


class Hanging(Small):
    """Images of which one is never read: a pipe into which nobody writes."""

    def __init__(self, pipe, index):
        super().__init__(in_memory=False)
        self.pipe, self.index = pipe, index

    def load(self, index):
        if index == self.index:
            open(self.pipe).close()
        return super().load(index)


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_batch_that_does_not_come_is_named(pipe):
    """Whatever was read before is delivered, and the message names the batch that is waited for."""
    loader = build_test_loader(Hanging(pipe, 9), range(23), 4, num_workers=2, timeout=4.5)
    batches = iter(loader)
    assert [int(next(batches).index[0]) for _ in range(2)] == [0, 4]
    message = (
        r"sent no batch within 4\.5 s \(train\.data_timeout\), while batch 0 of step 2 .*images 8, 9, 10, 11 of the"
    )
    with pytest.raises(MachineError, match=message):
        next(batches)
    train = iter(build_train_loader(Hanging(pipe, 9), 23, seed=0, num_workers=1, start_step=7, timeout=1))
    with pytest.raises(MachineError, match=r"within 1 s .*batch 0 of step 7 was waited for \(images .*, \.\.\. of the"):
        next(train)


def test_workers_that_hang_are_ended_with_their_iterator(pipe):
    before = set(active_children())
    batches = iter(build_test_loader(Hanging(pipe, 0), range(4), 1, num_workers=2))
    workers = set(active_children()) - before
    assert len(workers) == 2
    begin = time.monotonic()
    time.sleep(0.5)
    del batches
    gc.collect()
    assert not any(worker.is_alive() for worker in workers)
    assert time.monotonic() - begin < 60  # not for ever


def test_a_time_out_needs_workers_and_changes_nothing_else():
    for workers in (0, 2):
        assert same(
            take(build_train_loader(Small(), 3, seed=0, num_workers=workers, timeout=60), 9),
            take(build_train_loader(Small(), 3, seed=0), 9),
        )
