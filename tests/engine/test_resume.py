"""A run that is killed and resumed ends in the same bits as one that was left alone."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dmaelab.data.transforms import HorizontalFlip

ROOT = Path(__file__).resolve().parents[2]

# Runs tools/train_net.py's job in a process that kills itself after the step in $KILL_AFTER.
RUNNER = """
import os, signal, sys
import torch
from dmaelab.config import LazyCall as L, open_config
from dmaelab.engine import DefaultTrainer, Hook, run_training
from dmaelab.engine.training import SECTIONS

torch.set_num_threads(1)

class Kill(Hook):
    def after_step(self):
        if self.trainer.step == int(os.environ.get("KILL_AFTER", 0)):
            os.kill(os.getpid(), getattr(signal, os.environ.get("SIGNAL", "SIGKILL")))

build_hooks = DefaultTrainer.build_hooks
DefaultTrainer.build_hooks = lambda self, start: [Kill(), *build_hooks(self, start)]
cfg = open_config("digits/finetune_rs", sys.argv[1:], SECTIONS)
run_training(cfg, resume=True)
"""

# 1,397 images in batches of 256: an epoch is 5 steps, so 13 steps cross two of its ends.
SETTINGS = [
    "train.init_from=None", "train.device=cpu", "train.max_iter=13", "train.batch_size=256", "train.accum_steps=2",
    "train.checkpoint_period=3", "train.ema_decay=0.9", "train.log_period=4", "train.eval_period=5", "train.best_metric=noisy_loss",
    "train.best_mode=min", "train.clip_grad=1.0", "model.classifier.backbone.width=16", "model.classifier.backbone.depth=2",
    "model.classifier.backbone.drop_path=0.2",
    f"data.augment=[{{'_target_': '{HorizontalFlip.__module__}.HorizontalFlip'}}]",
]  # fmt: skip


def run(out, *overrides, **env):
    command = [sys.executable, "-c", RUNNER, *SETTINGS, f"train.out_dir={out}", *overrides]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True)


def contents(out):
    """Return all tensors of the last checkpoint, by path, and the log records without what depends on the clock."""
    state = torch.load(out / "checkpoints/step_0000013.pth", weights_only=True)
    final = torch.load(out / "model_final.pth", weights_only=True)
    best = torch.load(out / "checkpoints/best.pth", weights_only=True)
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        for key in ("images_per_second", "data_wait"):
            record.pop(key, None)
    return {"state": state, "final": final, "best": best}, records


def assert_same(a, b, path=""):
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}/{number}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "run"
    result = run(out)
    assert result.returncode == 0, result.stderr
    return contents(out)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_sigkill_at_any_step_changes_no_bit(tmp_path, unbroken, workers):
    out = tmp_path / "run"
    for step in (1, 4, 8, 12):  # before the first checkpoint, after it, across an epoch's end, before the last step
        result = run(out, f"train.num_workers={workers}", KILL_AFTER=str(step))
        assert result.returncode == -signal.SIGKILL, result.stderr
    result = run(out, f"train.num_workers={workers}")
    assert result.returncode == 0, result.stderr
    assert "resumed at step 9 of 13" in result.stdout
    tensors, records = contents(out)
    assert_same(tensors, unbroken[0])
    assert records == unbroken[1]


@pytest.mark.slow
def test_preemption_saves_the_step_and_resumes_exactly(tmp_path, unbroken):
    out = tmp_path / "run"
    result = run(out, KILL_AFTER="7", SIGNAL="SIGUSR2")
    assert "Preempted: stopped at step 7 of 13" in result.stderr
    assert (out / "checkpoints/step_0000007.pth").exists()
    assert run(out).returncode == 0
    tensors, records = contents(out)
    assert_same(tensors, unbroken[0])
    assert records == unbroken[1]


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    """A file-size limit stands in for the full disk: the write itself fails, half-way."""
    out = tmp_path / "run"
    assert run(out, KILL_AFTER="4").returncode == -signal.SIGKILL
    before = (out / "checkpoints/step_0000003.pth").read_bytes()

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    command = [sys.executable, "-c", RUNNER, *SETTINGS, f"train.out_dir={out}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, preexec_fn=limit)
    assert "could not be written" in result.stderr
    assert "earlier checkpoints are intact" in result.stderr
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step_0000003.pth"]
    assert (out / "checkpoints/step_0000003.pth").read_bytes() == before


def test_a_truncated_checkpoint_is_named_with_the_one_before(tmp_path):
    from dmaelab.engine.checkpoint import CheckpointFolder
    from dmaelab.modeling import WeightsError

    folder = CheckpointFolder(tmp_path)
    for step in (9, 10):
        folder.save_step(step, {"model": {"weight": torch.ones(1000)}}, keep=2)
    newest = tmp_path / "step_0000010.pth"
    newest.write_bytes(newest.read_bytes()[:500])
    with pytest.raises(WeightsError, match=r"step_0000010.pth: truncated.*the one before it is step_0000009.pth"):
        folder.load_latest()
