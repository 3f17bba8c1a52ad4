"""Two processes with gloo on the CPU, started by torchrun as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dmaelab.config import open_config
from dmaelab.engine import run_evaluation
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.training import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [
    "--config-file", "digits/finetune_cr", "train.init_from=None", "train.device=cpu", "train.precision=fp32",
    "train.max_iter=6",
    "train.batch_size=64", "train.log_period=3", "train.checkpoint_period=2", "train.eval_images=40",
    "train.ema_decay=0.9",
    "model.classifier.backbone.width=16", "model.classifier.backbone.depth=1", "model.corruption.sigma=(0.0, 0.5)",
]  # fmt: skip


def start(*command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result


def train(out, processes, *overrides):
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    )
    return start(*launcher, "tools/train_net.py", *SETTINGS, f"train.out_dir={out}", *overrides)


def model(out):
    return torch.load(out / "model_final.pth", weights_only=True)["model"]


@pytest.mark.slow
def test_two_processes_equal_one_with_two_micro_batches(tmp_path):
    """Data, noise and masks are the same bit for bit; the sum of the gradients may round differently."""
    train(tmp_path / "one", 1, "train.accum_steps=2")
    train(tmp_path / "two", 2)
    one, two = model(tmp_path / "one"), model(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=0)
    last_one, last_two = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in ("one", "two")
    )
    for name in ("loss", "eval_noisy_loss", "eval_clean_accuracy"):
        assert last_two[name] == pytest.approx(last_one[name], rel=1e-3)


@pytest.mark.slow
def test_processes_and_micro_batches_are_one_split(tmp_path):
    """The first micro-batch of each process goes unsynchronised: nothing is lost, nothing counts twice."""
    train(tmp_path / "one", 1, "train.accum_steps=4")
    train(tmp_path / "two", 2, "train.accum_steps=2")
    one, two = model(tmp_path / "one"), model(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=0)


# Trains in this process of a group; every process must then have the same weights, moments and metrics.
AGREE = """
import json, sys
import torch
import torch.distributed as dist
from dmaelab.config import open_config
from dmaelab.engine import run_training
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.training import SECTIONS
from dmaelab.launch.process_group import process_group

def tensors(tree):
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [tree] if isinstance(tree, torch.Tensor) else [t for part in parts for t in tensors(part)]

def check(trainer):
    parameters = {name: p for name, p in trainer.inner.named_parameters()}
    metrics = {n: torch.tensor(v) for n, v in trainer.evaluate().items()}
    for tensor in tensors([parameters, trainer.optimizer.state_dict(), metrics]):
        other = [torch.empty_like(tensor) for _ in range(2)]
        dist.all_gather(other, tensor.detach())
        assert torch.equal(*other)
        assert tensor.isfinite().all()

train = DefaultTrainer.train
DefaultTrainer.train = lambda self: (train(self), check(self))
with process_group():
    for overrides in json.loads(sys.argv[1]):
        run_training(open_config("digits/finetune_cr", overrides, SECTIONS))
"""
PROBE = [
    "model.classifier.head=bn_linear", "model.classifier.backbone.pool=cls", "model.train_backbone=False",
    "train.eval_batch_size=20",
    "optimizer={'_target_': 'dmaelab.solver.build_lars', 'lr': 6.4}",
]  # fmt: skip
MIXING = ["model.mixing={'_target_': 'dmaelab.modeling.Mixing', 'mixup': 0.8, 'cutmix': 1.0}"]


@pytest.mark.slow
def test_processes_agree(tmp_path):
    """fp16, mixing, batch statistics in a head on a frozen backbone; what is saved is what was evaluated."""
    recipes = {
        "fp16": ["train.precision=fp16", "train.clip_grad=1.0"],
        "mixing": MIXING,
        "probe": ["train.ema_decay=None", *PROBE],
        "averaged": [*PROBE, *MIXING, "train.precision=fp16"],
    }
    common = [*SETTINGS[2:], "train.accum_steps=2"]
    runs = [[*common, f"train.out_dir={tmp_path / name}", *overrides] for name, overrides in recipes.items()]
    script = tmp_path / "agree.py"
    script.write_text(AGREE)
    start("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, json.dumps(runs))
    for name, overrides in zip(recipes, runs, strict=True):
        record = json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])
        for metric, value in run_evaluation(open_config("digits/finetune_cr", overrides, SECTIONS)).items():
            assert record[f"eval_{metric}"] == pytest.approx(value, rel=1e-5), (name, metric)


@pytest.mark.slow
def test_two_processes_resume_exactly(tmp_path):
    train(tmp_path / "whole", 2, "train.accum_steps=2")
    train(tmp_path / "parts", 2, "train.accum_steps=2")
    (tmp_path / "parts/checkpoints/step_0000006.pth").unlink()
    train(tmp_path / "parts", 2, "train.accum_steps=2", "--resume")
    whole, parts = model(tmp_path / "whole"), model(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    # The checkpoint of step 4 lies inside the record of step 6: it keeps the sums of both processes.
    whole, parts = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in ("whole", "parts")
    )
    assert parts["step"] == 6
    starts = RunDirectory(tmp_path / "parts").starts()
    assert [(start["from_step"], start["steps"], start["processes"]) for start in starts] == [(0, 6, 2), (4, 6, 2)]
    assert [parts[name] for name in whole if "loss" in name] == pytest.approx(
        [whole[name] for name in whole if "loss" in name], rel=1e-6
    )


LEAVE = """
import glob, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from dmaelab.launch.process_group import process_group

def work():
    model, group = DistributedDataParallel(torch.nn.Linear(2, 2)), dist.new_group(backend="gloo")
    model(torch.ones(1, 2)).sum().backward()
    dist.all_reduce(torch.ones(1), group=group)
    cycle = [model, group]
    cycle.append(cycle)  # as a trainer and its hooks
    if sys.argv[1] == "fail":
        raise ArithmeticError

try:
    with process_group():
        work()
except ArithmeticError:
    pass
names = [open(path).read().strip() for path in glob.glob("/proc/self/task/*/comm")]
assert not [name for name in names if "gloo" in name], names
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["well", "fail"])
def test_no_thread_of_a_group_outlives_it(tmp_path, end):
    """One that does may abort the process when the interpreter ends."""
    script = tmp_path / "leave.py"
    script.write_text(LEAVE)
    start("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, end)
