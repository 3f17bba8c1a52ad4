"""What tests of several rooms share: one thread of torch, a batch, and trainings of seconds on the real digits.

One thread in every test and in what tests start: machines are shared, and results must not depend on their size.
Each test begins with the same state of the global random generators, so it passes always or never.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import logging
import random
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
# nohup ignores SIGHUP, and a shell ignores SIGINT for commands in the background. The processes that tests start would
# inherit this, but tests send these signals.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL = [
    "model.encoder.width=16",
    "model.encoder.depth=1",
    "model.decoder.width=16",
    "train.precision=fp32",
    "train.device=cpu",
    "train.log_period=4",
    "train.eval_period=0",
    "train.eval_images=40",
]
SMALL_CLASSIFIER = [
    text.replace("model.encoder", "model.classifier.backbone") for text in SMALL if "decoder" not in text
]


def _seed_global_generators() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures of a test, also those that several tests share."""
    _seed_global_generators()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Before the test itself: which shared fixtures it was the first to make changes nothing."""
    _seed_global_generators()


@pytest.fixture(autouse=True)
def _own_trust(monkeypatch):
    """Forget after each test which plug-ins and targets it trusted, and which folders it distrusted."""
    from dmaelab.config import imports, trust

    monkeypatch.setattr(trust, "_plugins", dict(trust._plugins))
    monkeypatch.setattr(trust, "_targets", set(trust._targets))
    monkeypatch.setattr(imports, "_foreign", dict(imports._foreign))


@pytest.fixture(autouse=True)
def _own_signals():
    """Give back after each test the handlers of the signals, which a command keeps until its process ends."""
    from dmaelab.utils.signals import ALL, StopSignals

    before = {number: signal.getsignal(number) for number in ALL}
    yield
    StopSignals._decided = None
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def pretrain_config(tmp_path):
    """Return a function of further overrides that gives a small pre-training config."""

    from dmaelab.config import open_config
    from dmaelab.engine.training import SECTIONS

    def make(*overrides, out="pretrain"):
        return open_config(
            "digits/pretrain", [*SMALL, f"train.out_dir={tmp_path / out}", "train.max_iter=8", *overrides], SECTIONS
        )

    return make


@pytest.fixture
def finetune_config(tmp_path):
    """Return a function of further overrides that gives a small fine-tuning config, from scratch."""

    from dmaelab.config import open_config
    from dmaelab.engine.training import SECTIONS

    def make(*overrides, out="rs", name="digits/finetune_rs"):
        base = [*SMALL_CLASSIFIER, f"train.out_dir={tmp_path / out}", "train.init_from=None", "train.max_iter=8"]
        return open_config(name, [*base, *overrides], SECTIONS)

    return make


@pytest.fixture(scope="session")
def classifier_run(tmp_path_factory):
    """Return the run directory of a small trained classifier."""
    from dmaelab.config import open_config
    from dmaelab.engine.training import SECTIONS, run_training

    out = tmp_path_factory.mktemp("shared") / "rs"
    length = ["train.max_iter=400", "train.log_period=400", "train.ema_decay=0.9", "optimizer.lr=5e-3"]
    overrides = [*SMALL_CLASSIFIER, f"train.out_dir={out}", "train.init_from=None", *length]
    run_training(open_config("digits/finetune_rs", overrides, SECTIONS))
    return out


@pytest.fixture
def batch() -> Callable[..., Any]:
    """Make a batch of images of 3x8x8 pixels."""

    from dmaelab.data import Batch
    from dmaelab.utils.random import Draw

    def make(count: int = 6, key: int = 0, progress: float = 0.5) -> Batch:
        images = Draw(0, "data").uniform((count, 3, 8, 8))
        return Batch(images, torch.arange(count) % 4, torch.arange(count), Draw(key, "train", 0, 0), progress)

    return make


@pytest.fixture
def log_messages() -> Any:
    """The messages that the package logs from here on, whoever has set up its logger before."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("dmaelab")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)
