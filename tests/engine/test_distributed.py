"""Two processes with gloo on the CPU, started by torchrun as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [
    "--config-file", "digits/finetune_cr", "train.init_from=None", "train.device=cpu", "train.precision=fp32", "train.max_iter=6",
    "train.batch_size=64", "train.log_period=3", "train.checkpoint_period=2", "train.eval_images=40", "train.ema_decay=0.9",
    "model.classifier.backbone.width=16", "model.classifier.backbone.depth=1", "model.corruption.sigma=(0.0, 0.5)",
]  # fmt: skip


def start(*command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result


def train(out, processes, *overrides):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    return start(*launcher, "tools/train_net.py", *SETTINGS, f"train.out_dir={out}", *overrides)


@pytest.mark.slow
def test_two_processes_equal_one_with_two_micro_batches(tmp_path):
    """Data, noise and masks are the same bit for bit; the sum of the gradients may round differently."""
    train(tmp_path / "one", 1, "train.accum_steps=2")
    train(tmp_path / "two", 2)
    one, two = (torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"] for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=0)
    last_one, last_two = (json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in ("one", "two"))
    for name in ("loss", "eval_noisy_loss", "eval_clean_accuracy"):
        assert last_two[name] == pytest.approx(last_one[name], rel=1e-3)


@pytest.mark.slow
def test_two_processes_resume_exactly(tmp_path):
    train(tmp_path / "whole", 2, "train.accum_steps=2")
    train(tmp_path / "parts", 2, "train.accum_steps=2")
    (tmp_path / "parts/checkpoints/step_0000006.pth").unlink()
    train(tmp_path / "parts", 2, "train.accum_steps=2", "--resume")
    whole, parts = (torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    # The checkpoint of step 4 lies inside the record of step 6: it keeps the sums of both processes.
    whole, parts = (json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in ("whole", "parts"))
    assert parts["step"] == 6
    assert [parts[name] for name in whole if "loss" in name] == pytest.approx([whole[name] for name in whole if "loss" in name], rel=1e-6)


LEAVE = """
import glob, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from dmaelab.launch.distributed import process_group

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
