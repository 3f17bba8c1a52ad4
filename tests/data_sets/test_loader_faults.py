"""What a loader says when a worker is killed, memory is full, or the data set has a bug."""

import errno
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from multiprocessing import active_children

import pytest
import torch

from dmaelab.data import Dataset, build_test_loader, build_train_loader
from dmaelab.utils.errors import MachineError, UserError


class Failing(Dataset):
    """Image 5 raises an error; the others are images of 3x3 pixels."""

    def __init__(self, error):
        super().__init__([0] * 12, ["a"])
        self.error = error

    def load(self, index):
        if index == 5:
            raise self.error
        return torch.zeros(1, 3, 3, dtype=torch.uint8), 0


def load(error, workers):
    return list(build_test_loader(Failing(error), list(range(12)), 2, num_workers=workers))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("first", [True, False])
def test_a_killed_worker_is_named_where_its_data_is_needed(number, first):
    before = set(active_children())
    dataset = Dataset([0] * 64, ["a"], torch.zeros(64, 3, 64, 64, dtype=torch.uint8))
    batches = iter(build_train_loader(dataset, 32, seed=0, num_workers=2))
    workers = sorted(set(active_children()) - before, key=lambda worker: worker.pid)
    if not first:
        next(batches)
    os.kill(workers[0].pid, number)
    workers[0].join()
    time.sleep(0.1)  # torch's own handler would raise here
    text = f"^a loader worker \\(process {workers[0].pid}\\) was killed by {number.name}.*: lower num_workers"
    with pytest.raises(MachineError, match=text):
        list(islice(batches, 100))


def test_a_loader_leaves_the_handler_for_ended_children_alone():
    before = signal.getsignal(signal.SIGCHLD)
    next(iter(build_test_loader(Failing(None), [0], 1, num_workers=1)))
    assert signal.getsignal(signal.SIGCHLD) is before


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (UserError("cannot read image 5"), UserError, "^cannot read image 5$"),
        (MemoryError(), MachineError, "^the machine is out of memory: lower num_workers"),
        (OSError(errno.EMFILE, "Too many open files", "5.png"), MachineError, r"^5\.png: too many files are open"),
        (ZeroDivisionError("a bug"), ZeroDivisionError, "a bug"),
        (RuntimeError("a bug"), RuntimeError, "a bug"),
    ],
)
def test_errors_in_a_data_set(workers, error, kind, text):
    with pytest.raises(kind, match=text) as caught:
        load(error, workers)
    if kind is not MachineError:
        assert not isinstance(caught.value, MachineError)


CODE = """
import resource, torch
from dmaelab.data import Dataset, build_test_loader
from dmaelab.utils.cli import run_main
dataset = Dataset([0] * 8, ["a"], torch.zeros(8, 3, 256, 256, dtype=torch.uint8))
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
    list(build_test_loader(dataset, list(range(8)), 4, num_workers=1))
run_main(main)
"""


def test_shared_memory_that_is_full_does_not_hang():
    """A limit of the size of files stands in for a small /dev/shm."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "error: the file would exceed the limit of the size of files: raise the limit (ulimit -f)\n"
    assert done.returncode == 71


def test_shared_memory_that_is_full_is_named(monkeypatch):
    def full(self):
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"
        )

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)  # the workers are forked
    with pytest.raises(
        MachineError, match=r"^the shared memory is full \(/dev/shm, .* free\): enlarge it \(the option"
    ):
        load(None, 1)
