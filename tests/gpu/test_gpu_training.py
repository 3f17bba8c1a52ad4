"""Training on a device: exact resume, loss scaling, resident images, a process group of one."""

import gc
import json
import subprocess
import sys
from datetime import timedelta
from importlib import import_module

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from dmaelab.config import LazyConfig
from dmaelab.engine import run_evaluation, run_training
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.hooks.base import Hook

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
on_both = pytest.mark.parametrize("device", DEVICES, indirect=True)


def same(one, other):
    """Return whether two states are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def read(path):
    return torch.load(path, map_location="cpu", weights_only=True)


@on_both
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("recipe", ["dmae", "cr"])
def test_a_resumed_training_ends_in_the_same_bits(device, config, tmp_path, recipe, precision):
    """Six steps, the last three of them twice."""
    cfg = config(recipe, "run", f"train.precision={precision}")
    run_training(cfg)
    halfway, last = (tmp_path / f"run/checkpoints/step_000000{step}.pth" for step in (3, 6))
    whole = read(last)
    assert not same(whole["model"], read(halfway)["model"])
    last.unlink()
    (tmp_path / "run/model_final.pth").unlink()
    run_training(cfg, resume=True)
    assert same(read(last), whole)


class Scales(Hook):
    """Sets the loss scale before each step; notes the weights, the scale and the rate after it."""

    def __init__(self, *scales):
        self.scales, self.notes = scales, []

    def before_step(self):
        state = {**self.trainer.scaler.state_dict(), "scale": self.scales[self.trainer.step]}
        self.trainer.scaler.load_state_dict(state)

    def after_step(self):
        weights = {name: value.clone() for name, value in self.trainer.inner.state_dict().items()}
        self.notes.append((weights, self.trainer.scaler.get_scale(), self.trainer.optimizer.param_groups[0]["lr"]))


@on_both
def test_a_step_that_overflows_changes_no_weights_and_counts(device, config):
    trainer = DefaultTrainer(config("cr", "run", "train.precision=fp16", "train.max_iter=4"))
    scales = Scales(2.0**10, 2.0**120, 2.0**10, 2.0**10)
    trainer.register_hooks([scales])
    before = {name: value.clone() for name, value in trainer.inner.state_dict().items()}
    trainer.train()
    weights, found, rates = zip(*scales.notes, strict=True)
    changed = [not same(new, old) for new, old in zip(weights, [before, *weights], strict=False)]
    assert changed == [True, False, True, True]
    assert found == (2.0**10, 2.0**119, 2.0**10, 2.0**10)
    assert rates[0] > rates[1] > rates[2] > rates[3]
    assert trainer.step == 4
    assert {float(state["step"]) for state in trainer.optimizer.state.values()} == {3}


@pytest.mark.gpu  # on a CPU the two are one
@pytest.mark.parametrize("recipe", ["dmae", "cr"])
def test_images_resident_on_the_device_train_to_the_same_bits(device, config, tmp_path, monkeypatch, recipe):
    for out, place in (("host", None), ("resident", device)):
        monkeypatch.setattr("dmaelab.engine.defaults.resident_device", lambda *_, place=place: place)
        run_training(config(recipe, out))
    host, resident = (read(tmp_path / out / "checkpoints/step_0000006.pth") for out in ("host", "resident"))
    assert same(host, resident)


@pytest.fixture
def group_of_one(tmp_path, device):
    """A process group of this process alone, gone when the test ends, however it ends."""
    import_module("torch.distributed.nn")  # as in launch/process_group.py: imported later, it would keep this group
    backend, store = "nccl" if device.type == "cuda" else "gloo", f"file://{tmp_path}/store"
    dist.init_process_group(backend, init_method=store, rank=0, world_size=1, timeout=timedelta(seconds=60))
    yield
    gc.collect()
    dist.destroy_process_group()


@on_both
def test_a_group_of_one_trains_to_the_same_bits(device, config, tmp_path, monkeypatch, group_of_one):
    """With gradients that are gathered over two micro-batches and summed over the processes, of which there is one."""
    run_training(config("cr", "alone"))
    wrapped = []

    def wrap(trainer, model, place):
        wrapped.append(DistributedDataParallel(model, device_ids=[place.index] if place.type == "cuda" else None))
        return wrapped[-1]

    monkeypatch.setattr(DefaultTrainer, "wrap", wrap)
    run_training(config("cr", "group"))
    assert len(wrapped) == 1
    wrapped.clear()
    alone, group = (read(tmp_path / out / "checkpoints/step_0000006.pth") for out in ("alone", "group"))
    assert same(alone, group)


# Two processes that share a GPU, which NCCL does not allow.
TWO = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from dmaelab.config import open_config
from dmaelab.engine import run_training
from dmaelab.engine.training import SECTIONS
from dmaelab.utils.distributed import rank, with_synchronised_batch_norms

def grown(norm, images):
    images = images.clone().requires_grad_()
    norm(images).pow(3).sum().backward()
    return images.grad

dist.init_process_group("gloo")
images = torch.rand(8, 5, 3, generator=torch.Generator().manual_seed(0)).cuda()
mine = slice(4 * rank(), 4 * rank() + 4)
for affine in (False, True):
    whole, part = (nn.BatchNorm1d(5, affine=affine).cuda() for _ in range(2))
    part = with_synchronised_batch_norms(part)
    torch.testing.assert_close(grown(part, images[mine]), grown(whole, images)[mine], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(part.running_mean, whole.running_mean)
    torch.testing.assert_close(part.running_var, whole.running_var)
run_training(open_config(sys.argv[1], [], SECTIONS))
dist.destroy_process_group()
"""


@pytest.mark.gpu
def test_two_processes_share_their_batch_statistics(device, config, tmp_path):
    """Those of a layer are those of the whole batch; a trained classifier is an ordinary one."""
    cfg = config("cr", "run", "train.precision=fp32", "train.sync_batchnorm=True", "model.classifier.head=bn_linear")
    LazyConfig.save(cfg, tmp_path / "two.yaml")
    (tmp_path / "two.py").write_text(TWO)
    group = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*group, str(tmp_path / "two.py"), str(tmp_path / "two.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    loss = run_evaluation(cfg)["noisy_loss"]
    record = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert record["eval_noisy_loss"] == pytest.approx(loss, rel=1e-4)
