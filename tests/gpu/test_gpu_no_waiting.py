"""The host never waits for the device between two log periods, nor in a certification but for the votes it reads.

PyTorch raises an error where the host would wait: at values that are read, and at copies that are not asynchronous. An
event's ``synchronize``, with which the pool waits for the votes of the batch before, is none of these. What can be seen
of this without a GPU is in ``tests/engine/test_no_waiting.py``.
"""

from contextlib import contextmanager

import pytest
import torch

from dmaelab.certifiers import Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.hooks import EMAHook, LogHook, NaNGuard
from dmaelab.engine.hooks.base import Hook
from dmaelab.smoothing import Smoothing
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.noise import Address
from dmaelab.smoothing.votes import Flight, VotePool

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:Synchronization debug mode")]


@contextmanager
def every_wait_is_an_error():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Forbid(Hook):
    """Forbids to wait from before step 3 to after step 7, in training of 9 steps that logs the eighth."""

    def __init__(self):
        self.watched = []

    def before_step(self):
        forbidden = 2 <= self.trainer.step < 7
        torch.cuda.set_sync_debug_mode("error" if forbidden else "default")
        if forbidden:
            self.watched.append(self.trainer.step + 1)


def test_a_wait_is_an_error(device):
    """Else the tests below could not fail."""
    value = torch.ones(3, device=device)
    with every_wait_is_an_error():
        for wait in (value.sum().item, lambda: value[value > 0], lambda: torch.ones(3).to(device), lambda: value.cpu()):
            with pytest.raises(RuntimeError, match="synchroniz"):
                wait()
    value.sum().item()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("recipe", ["dmae", "cr"])
def test_steps_between_two_records_do_not_wait(device, config, recipe, precision):
    """All default hooks, images resident on the device. Fused AdamW looks there whether fp16 gradients overflow."""
    lengths = ["train.max_iter=9", "train.log_period=8", "train.checkpoint_period=0"]
    trainer = DefaultTrainer(config(recipe, "run", f"train.precision={precision}", *lengths))
    assert {EMAHook, LogHook, NaNGuard} <= {type(hook) for hook in trainer.hooks}
    assert trainer.clip_grad is not None
    forbid = Forbid()
    trainer.register_hooks([forbid])
    try:
        trainer.train()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert forbid.watched == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_certification_waits_for_nothing_but_votes(device, classifier, pictures, precision):
    """Twelve images from the host, two or three batches each."""
    arithmetic = Arithmetic(precision, compile=False, cuda_graph=False)
    smoothing = Smoothing(classifier("vit"), Gaussian(0.25), 4, arithmetic=arithmetic, batch_size=128)
    pool = VotePool(smoothing, (3, 8, 8))
    certifier, found = Cohen(20, 300, 0.001), []

    def flights(indices):
        return (Flight(smoothing, certifier, Address(0, "certify", i), *pictures(i)) for i in indices)

    pool.run(flights(range(2)), lambda *_: None)  # libraries are loaded and kernels chosen
    with every_wait_is_an_error():
        pool.run(flights(range(12)), lambda flight, certificate: found.append((flight.index, certificate.n)))
    assert sorted(found) == [(index, 300) for index in range(12)]
