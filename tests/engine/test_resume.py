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
from dmaelab.engine import run_training

ROOT = Path(__file__).resolve().parents[2]

# 1,397 images in batches of 256: an epoch is 5 steps, so 13 steps cross two of its ends.
SETTINGS = [
    "train.init_from=None", "train.device=cpu", "train.max_iter=13", "train.batch_size=256", "train.accum_steps=2",
    "train.checkpoint_period=3", "train.ema_decay=0.9", "train.log_period=4", "train.eval_period=5",
    "train.best_metric=noisy_loss",
    "train.best_mode=min", "train.clip_grad=1.0", "model.classifier.backbone.width=16",
    "model.classifier.backbone.depth=2",
    "model.classifier.backbone.drop_path=0.2",
    f"data.augment=[{{'_target_': '{HorizontalFlip.__module__}.HorizontalFlip'}}]",
]  # fmt: skip


def command(out, *overrides, after=None, name="SIGKILL"):
    """Return the command of a training, which sends itself a signal after a step; each start has a hook of its own."""
    hooks = [f"+hooks=[{{'_target_': 'signalling.Signal', 'step': {after}, 'name': '{name}'}}]"] if after else []
    tool = [sys.executable, str(ROOT / "tools/train_net.py"), "--config-file", "digits/finetune_rs", "--resume"]
    return [*tool, "--allow-changes", *SETTINGS, f"train.out_dir={out}", *hooks, *overrides]


def run(out, *overrides, after=None, name="SIGKILL", **options):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "DMAELAB_PLUGINS": "signalling"}
    arguments = command(out, *overrides, after=after, name=name)
    return subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True, check=False, **options)


def contents(out, *checkpoints):
    """Return all tensors of these checkpoints and of the final model, and the log records without what depends on the
    clock.
    """
    files = {name: out / f"checkpoints/{name}.pth" for name in checkpoints} | {"final": out / "model_final.pth"}
    tensors = {name: torch.load(file, weights_only=True) for name, file in files.items()}
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        for key in ("images_per_second", "data_wait"):
            record.pop(key, None)
    return tensors, records


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
    return contents(out, "step_0000013", "best")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_sigkill_at_any_step_changes_no_bit(tmp_path, unbroken, workers):
    out = tmp_path / "run"
    for step in (1, 4, 8, 12):  # before the first checkpoint, after it, across an epoch's end, before the last step
        result = run(out, f"train.num_workers={workers}", after=step)
        assert result.returncode == -signal.SIGKILL, result.stderr
    result = run(out, f"train.num_workers={workers}")
    assert result.returncode == 0, result.stderr
    assert "resumed at step 9 of 13" in result.stdout
    tensors, records = contents(out, "step_0000013", "best")
    assert_same(tensors, unbroken[0])
    assert records == unbroken[1]


@pytest.mark.slow
def test_preemption_saves_the_step_and_resumes_exactly(tmp_path, unbroken):
    out = tmp_path / "run"
    result = run(out, after=7, name="SIGUSR2")
    assert result.returncode == 75
    assert result.stderr.splitlines()[-1].startswith("stopped at step 7 of 13")
    assert (out / "checkpoints/step_0000007.pth").exists()
    assert run(out).returncode == 0
    tensors, records = contents(out, "step_0000013", "best")
    assert_same(tensors, unbroken[0])
    assert records == unbroken[1]


RECIPES = {
    "probe": [
        "model.classifier.head=bn_linear", "model.classifier.backbone.pool=cls", "model.train_backbone=False",
        "optimizer={'_target_': 'dmaelab.solver.build_lars', 'lr': 6.4}",
    ],
    "mixing": ["model.mixing={'_target_': 'dmaelab.modeling.Mixing', 'mixup': 0.8, 'cutmix': 1.0}"],
    "epochs": ["train.max_iter=None", "train.epochs=2", "train.batch_size=300", "train.milestones={'first': 1}"],
}  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_resume_exactly(finetune_config, tmp_path, recipe):
    """8 steps, the last 5 twice: momentum and batch statistics, the choice of a mix, an epoch's end at step 4."""
    cfg = finetune_config(
        "train.checkpoint_period=3", "train.keep_checkpoints=3", "train.accum_steps=2", *RECIPES[recipe]
    )
    run_training(cfg)
    whole = contents(tmp_path / "rs", "step_0000008")
    for name in ("checkpoints/step_0000006.pth", "checkpoints/step_0000008.pth", "model_final.pth"):
        (tmp_path / "rs" / name).unlink()
    run_training(cfg, resume=True)
    assert_same(contents(tmp_path / "rs", "step_0000008"), whole)
    if recipe == "probe":
        saved = whole[0]["step_0000008"]
        assert saved["model"]["classifier.head.0.num_batches_tracked"] == 16
        assert [list(state) for state in saved["optimizer"]["state"].values()] == [["momentum_buffer"]] * 2


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    """A file-size limit stands in for the full disk: the write itself fails, half-way."""
    out = tmp_path / "run"
    assert run(out, after=4).returncode == -signal.SIGKILL
    before = (out / "checkpoints/step_0000003.pth").read_bytes()

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    result = run(out, preexec_fn=limit)
    assert result.returncode == 71
    end = "raise the limit (ulimit -f); steps after the last checkpoint are not saved: continue with --resume"
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert ".pth: the file would exceed the limit" in line
    assert end in line
    assert "Traceback" not in result.stderr
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step_0000003.pth"]
    assert (out / "checkpoints/step_0000003.pth").read_bytes() == before
