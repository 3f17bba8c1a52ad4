"""The host waits for the device neither in a step that does not log, nor in a certification but for the votes it reads.

The device here is ``meta``: its tensors have shapes and no values. All others lie on the host, as they would beside a
GPU, so the flag of a signal, which is read after each step, and the count of the moving average are no waits. A value
that is asked of the device is one, and so is a copy between the two that is not asked for as asynchronous. What else
needs values, such as a mask as an index, meta refuses with an error. ``torch.tensor(..., device=...)``, memory that is
not pinned, and kernels that only a GPU has are unseen: ``tests/gpu/test_gpu_no_waiting.py`` is for these.
"""

import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import dmaelab
from dmaelab.certifiers import Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.hooks import EMAHook
from dmaelab.engine.hooks.base import Hook
from dmaelab.smoothing import Smoothing
from dmaelab.smoothing.noise import Address
from dmaelab.smoothing.votes import Flight, VotePool

META, PACKAGE = torch.device("meta"), Path(dmaelab.__file__).parent
ATEN = torch.ops.aten


class Waits(TorchDispatchMode):
    """Counts by file of the package where the host waits for the device, and answers with some value."""

    def __init__(self):
        super().__init__()
        self.places = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is ATEN._local_scalar_dense.default and args[0].is_meta:
            self._note()
            return 1.0 if args[0].is_floating_point() else 2**62  # which means to the guard that no step was bad
        if func in (ATEN._to_copy.default, ATEN.copy_.default):
            copied = func is ATEN._to_copy.default
            source, target = (args[0].device, kwargs.get("device")) if copied else (args[1].device, args[0].device)
            if target is not None and source.type != target.type:
                if not (kwargs.get("non_blocking") or args[2:] == (True,)):
                    self._note()
                if copied and source == META:
                    return torch.zeros(args[0].shape, dtype=args[0].dtype)
        return func(*args, **kwargs)

    def _note(self):
        frame = sys._getframe(2)
        while not Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
            frame = frame.f_back
        self.places[Path(frame.f_code.co_filename).relative_to(PACKAGE).as_posix()] += 1


def words(keys, count, device):
    """Return random words that have no values."""
    return torch.empty(len(keys), count, dtype=torch.int64, device=device)


@pytest.fixture(autouse=True)
def _meta(monkeypatch):
    """Replace what cannot use this device: its choice, autocast, the fused optimizer, random words, evaluation."""
    monkeypatch.setattr("dmaelab.engine.defaults.pick_device", lambda name: META)
    monkeypatch.setattr("dmaelab.solver.optimizers.fused_rule", lambda device_type: False)
    monkeypatch.setattr("dmaelab.utils.random.philox_words", words)
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())
    monkeypatch.setattr(DefaultTrainer, "evaluate", lambda trainer: {})


def train(cfg, *more):
    """Train, and return where the host waited in each step."""
    trainer, waits, found = DefaultTrainer(cfg), Waits(), {}

    class Steps(Hook):
        def after_step(self):
            found[self.trainer.step] = dict(waits.places)
            waits.places.clear()

    trainer.register_hooks([*more, Steps()])
    with waits:
        trainer.train()
    return trainer, found


OPTIONS = [
    "train.max_iter=7", "train.log_period=3", "train.batch_size=32", "train.accum_steps=2", "train.clip_grad=1.0",
    "train.ema_decay=0.9", "train.checkpoint_period=0",
]  # fmt: skip
RECORDED = {"dmae": 2, "rs": 2, "cr": 5}  # losses, their sum where there are several, and the norm of the gradient


@pytest.mark.parametrize("recipe", RECORDED)
def test_a_step_waits_for_nothing_but_its_record(pretrain_config, finetune_config, recipe):
    make = pretrain_config if recipe == "dmae" else finetune_config
    name = {} if recipe == "dmae" else {"name": f"digits/finetune_{recipe}"}
    trainer, found = train(make(*OPTIONS, **name))
    assert any(isinstance(hook, EMAHook) for hook in trainer.hooks)
    record = {"engine/hooks/guard.py": 1, "engine/hooks/logging.py": RECORDED[recipe]}
    assert [found[step] for step in range(1, 7)] == [{}, {}, record, {}, {}, record]


def test_a_hook_that_waits_is_found(finetune_config):
    class Reads(Hook):
        def after_step(self):
            self.trainer.losses["loss_ce"].item()
            torch.ones(3).to(self.trainer.device)

    found = train(finetune_config(*OPTIONS), Reads())[1]
    assert all(found[step]["engine/trainer.py"] == 2 for step in range(1, 7))


def test_a_batch_of_a_certification_waits_for_nothing(monkeypatch):
    """Twelve images from the host, two or three batches each; the votes are copied while the next batch runs.

    The probe of the rows, which comes once before them, needs values.
    """
    monkeypatch.setattr("dmaelab.smoothing.votes.check_rows", lambda smoothing, shape: None)
    batches, found, waits = [], [], Waits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).to(META)
    model.register_forward_hook(lambda *_: batches.append(1))
    smoothing, certifier = Smoothing(model, Gaussian(0.25), 3, batch_size=128), Cohen(20, 300, 0.001)
    pool = VotePool(smoothing, (3, 4, 4))
    addresses = [Address(0, "certify", index) for index in range(12)]
    flights = (Flight(smoothing, certifier, address, torch.rand(3, 4, 4), 0) for address in addresses)
    with waits:
        pool.run(flights, lambda flight, certificate: found.append(flight.index))
    assert sorted(found) == list(range(12))
    assert len(batches) >= 30
    assert not waits.places
