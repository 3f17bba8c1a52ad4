"""A training that the machine ends: one line, and the finished steps are saved whenever the state is still theirs."""

import errno
import json
import logging
import os
import signal
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

from dmaelab.data import Digits
from dmaelab.engine import run_evaluation, run_training, writers
from dmaelab.engine.checkpoint import CheckpointFolder
from dmaelab.engine.hooks import EMAHook
from dmaelab.modeling import NoisyClassifier
from dmaelab.utils.errors import MachineError, UserError

GPU_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of")
ON_CPU = "the machine is out of memory (tried to allocate 4611686018427387904 bytes): lower "
SAVED = "steps are saved: continue with --resume (a pipeline: with the same command)"
LOST = "steps after the last checkpoint are not saved: continue with --resume (a pipeline: with the same command)"


def allocate(*args):
    torch.empty(1 << 60)


def out_of_gpu_memory(*args):
    raise GPU_FULL


def failing(method, fail, call):
    """Return a method that fails at one of its calls, counted from 1."""
    calls = []

    def wrapped(self, *args, **options):
        calls.append(1)
        if len(calls) == call:
            fail()
        return method(self, *args, **options)

    return wrapped


def failing_backward(method, fail, call):
    """Return a ``forward`` at one of whose calls the backward fails."""
    calls = []

    def wrapped(self, batch):
        losses = method(self, batch)
        calls.append(1)
        if len(calls) == call:
            next(iter(losses.values())).register_hook(fail)
        return losses

    return wrapped


def saved_steps(out):
    return [torch.load(path, weights_only=True)["step"] for path in sorted((out / "checkpoints").glob("step_*"))]


def final(out):
    return torch.load(out / "model_final.pth", weights_only=True)["model"]


def assert_resumes_to_the_same(finetune_config, tmp_path, *overrides):
    run_training(finetune_config(*overrides), resume=True)
    run_training(finetune_config(*overrides, out="whole"))
    resumed, whole = final(tmp_path / "rs"), final(tmp_path / "whole")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize("fail", [allocate, out_of_gpu_memory])
@pytest.mark.parametrize("wrap", [failing, failing_backward])
@pytest.mark.parametrize("micro", [1, 2])
def test_memory_that_ends_in_a_step_loses_no_finished_step(finetune_config, tmp_path, monkeypatch, fail, wrap, micro):
    settings = ["train.max_iter=5", "train.accum_steps=2", "train.ema_decay=0.5"]
    with monkeypatch.context() as patch:
        patch.setattr(NoisyClassifier, "forward", wrap(NoisyClassifier.forward, fail, 2 * 3 + micro))
        with pytest.raises(MachineError) as caught:
            run_training(finetune_config(*settings))
    what = ON_CPU if fail is allocate else "the GPU is out of memory (tried to allocate 20.00 GiB): lower "
    assert str(caught.value) == f"{what}train.micro_batch; the 3 finished {SAVED}"
    assert saved_steps(tmp_path / "rs") == [3]
    assert_resumes_to_the_same(finetune_config, tmp_path, *settings)


@pytest.mark.parametrize("micro", [1, 2])
def test_half_a_step_of_batch_norm_is_not_saved(finetune_config, tmp_path, monkeypatch, micro):
    settings = ["train.max_iter=4", "train.accum_steps=2", "model.classifier.head=bn_linear"]
    monkeypatch.setattr(NoisyClassifier, "forward", failing(NoisyClassifier.forward, allocate, 2 * 2 + micro))
    with pytest.raises(MachineError) as caught:
        run_training(finetune_config(*settings, "train.checkpoint_period=1"))
    assert str(caught.value) == f"{ON_CPU}train.micro_batch; {LOST}"
    assert saved_steps(tmp_path / "rs") == [1, 2]  # written before, by the period


@pytest.mark.parametrize(("owner", "method"), [(torch.optim.AdamW, "step"), (EMAHook, "after_step")])
def test_half_an_update_is_not_saved(finetune_config, tmp_path, monkeypatch, owner, method):
    """Some parameters, or averages, may be those of the next step already."""
    monkeypatch.setattr(owner, method, failing(getattr(owner, method), allocate, 3))
    with pytest.raises(MachineError) as caught:
        run_training(finetune_config("train.ema_decay=0.5"))
    assert str(caught.value) == f"{ON_CPU}train.micro_batch; {LOST}"
    assert saved_steps(tmp_path / "rs") == []


@pytest.mark.parametrize("last", [False, True])
def test_an_evaluation_without_memory_loses_no_step(finetune_config, tmp_path, monkeypatch, last):
    """All of the step but the evaluation is done: its losses are in the record, and its weights are saved."""
    settings = ["train.max_iter=4", "train.log_period=2", "train.ema_decay=0.5"]
    settings += [] if last else ["train.eval_period=2"]
    with monkeypatch.context() as patch:
        patch.setattr(NoisyClassifier, "evaluate", failing(NoisyClassifier.evaluate, allocate, 1))
        with pytest.raises(MachineError) as caught:
            run_training(finetune_config(*settings))
    step = 4 if last else 2
    assert str(caught.value) == f"{ON_CPU}train.eval_batch_size; the {step} finished {SAVED}"
    assert saved_steps(tmp_path / "rs") == [step]
    assert_resumes_to_the_same(finetune_config, tmp_path, *settings)
    records, whole = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("rs", "whole")
    )
    assert [record["step"] for record in records] == [record["step"] for record in whole] == [2, 4]
    assert [record["loss_ce"] for record in records] == [record["loss_ce"] for record in whole]


def test_an_evaluation_on_its_own_names_its_key(finetune_config, monkeypatch):
    cfg = finetune_config("train.max_iter=1")
    run_training(cfg)
    monkeypatch.setattr(NoisyClassifier, "evaluate", failing(NoisyClassifier.evaluate, allocate, 1))
    with pytest.raises(MachineError) as caught:
        run_evaluation(cfg)
    assert str(caught.value) == f"{ON_CPU}train.eval_batch_size"


@pytest.mark.parametrize("head", ["linear", "bn_linear"])
def test_a_killed_worker_loses_no_step(finetune_config, tmp_path, monkeypatch, head):
    """It is noticed where the next micro-batch is asked for, so also with batch norm nothing is half done."""
    settings = [
        "train.num_workers=2", "data.transform=[{'_target_': 'torch.nn.Identity'}]", "train.batch_size=32",
        "train.max_iter=40", f"model.classifier.head={head}",
    ]  # fmt: skip
    load, parent = Digits.load, os.getpid()

    def slow(self, index):  # the workers must not be ahead of the training
        if os.getpid() != parent and index % 32 == 0:
            torch.empty(200, 200).normal_().inverse()
        return load(self, index)

    def kill(self, *args):
        for worker in active_children():
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()

    with monkeypatch.context() as patch:
        patch.setattr(Digits, "load", slow)
        patch.setattr(NoisyClassifier, "forward", failing(NoisyClassifier.forward, lambda: kill(None), 3))
        with pytest.raises(MachineError) as caught:
            run_training(finetune_config(*settings))
    steps = saved_steps(tmp_path / "rs")
    assert len(steps) == 1
    assert steps[0] >= 3
    assert str(caught.value).startswith("a loader worker (process ")
    assert str(caught.value).endswith(f"or the batch size; the {steps[0]} finished {SAVED}")


def full_disk(*args, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("owner", "name", "file"),
    [(torch, "save", "checkpoints/step_0000004.pth"), (writers, "open", "metrics.jsonl")],
)
def test_a_full_disk_is_the_fault_of_the_machine(finetune_config, tmp_path, monkeypatch, owner, name, file):
    monkeypatch.setattr(owner, name, full_disk, raising=False)
    with pytest.raises(MachineError) as caught:
        run_training(finetune_config("train.max_iter=4", "train.checkpoint_period=4"))
    assert str(caught.value).startswith(f"{tmp_path / 'rs' / file}: the disk is full (")
    assert str(caught.value).endswith(f"free): make room on it; {LOST}")


def test_a_log_file_on_a_full_disk_ends_the_run_with_one_line(finetune_config, tmp_path, monkeypatch, capsys):
    class Full:
        def write(self, text):
            full_disk()

        flush = close = full_disk

    emit = logging.FileHandler.emit

    def fill(self, record):
        if "step 4/" in record.getMessage():
            self.stream.close()
            self.stream = Full()
        emit(self, record)

    monkeypatch.setattr(logging.FileHandler, "emit", fill)
    with pytest.raises(MachineError) as caught:
        run_training(finetune_config())
    assert str(caught.value).startswith(f"{tmp_path / 'rs/log.txt'}: the disk is full (")
    assert "Traceback" not in capsys.readouterr().err


def test_saving_the_finished_steps_may_fail_too(finetune_config, tmp_path, monkeypatch, capsys):
    """The first fault is the one to report."""
    monkeypatch.setattr(NoisyClassifier, "forward", failing(NoisyClassifier.forward, allocate, 3))
    monkeypatch.setattr(CheckpointFolder, "save", full_disk)
    with pytest.raises(MachineError) as caught:
        run_training(finetune_config())
    assert str(caught.value) == f"{ON_CPU}train.micro_batch; {LOST}"
    assert "saving the finished steps failed, too: the disk is full: make room on it" in capsys.readouterr().out


def test_a_wrong_path_stays_the_fault_of_the_user(finetune_config, tmp_path, monkeypatch):
    cfg = finetune_config()
    (tmp_path / "rs").write_text("a file")
    with pytest.raises(UserError, match=r"train\.out_dir .* cannot be created: File exists"):
        run_training(cfg)
    monkeypatch.setattr(Path, "mkdir", full_disk)
    with pytest.raises(MachineError, match="the disk is full"):
        run_training(cfg)


def test_images_that_do_not_fit_into_memory(finetune_config, monkeypatch):
    monkeypatch.setattr(Digits, "__init__", lambda self, split: allocate())
    with pytest.raises(MachineError, match=r"^data.train: the machine is out of memory \(tried to allocate"):
        run_training(finetune_config())


def test_weights_that_do_not_fit_into_memory_are_not_called_damaged(finetune_config, tmp_path, monkeypatch):
    run_training(finetune_config("train.max_iter=1"))
    monkeypatch.setattr(torch, "load", lambda *args, **options: allocate())
    with pytest.raises(MachineError, match=r"^the machine is out of memory"):
        run_training(finetune_config(f"train.init_from={tmp_path / 'rs'}", out="next"))
