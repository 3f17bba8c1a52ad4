"""The length of a training in epochs, and its precision."""

import json
import math

import pytest
import torch

from dmaelab.engine import run_training
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.hooks import NaNGuard
from dmaelab.engine.settings import TrainSettings
from dmaelab.utils.errors import ConfigError, UserError


@pytest.mark.parametrize(
    ("images", "batch", "steps"), [(1281167, 4096, 312), (50000, 512, 97), (50000, 256, 195), (1281167, 1024, 1251)]
)
def test_an_epoch_drops_its_tail(images, batch, steps):
    settings = TrainSettings("out", batch, epochs=3, milestones={"early": 2})
    assert settings.steps(images) == (3 * steps, {"early": 2 * steps})
    assert TrainSettings("out", batch, max_iter=7, milestones={"early": 2}).steps(images) == (7, {"early": 2})


@pytest.mark.parametrize("given", [{}, {"max_iter": 5, "epochs": 1}])
def test_the_length_is_given_once(given):
    with pytest.raises(
        ConfigError, match=r"train\.max_iter is .* and train\.epochs is .*: give the length in one of them"
    ):
        TrainSettings("out", 4, **given)


@pytest.mark.parametrize(
    ("given", "processes", "expected"),
    [
        ({"micro_batch": 64}, 1, (64, 64)),
        ({"micro_batch": 64}, 8, (64, 8)),
        ({"micro_batch": 64}, 128, (32, 1)),
        ({"accum_steps": 8}, 8, (64, 8)),
        ({}, 4, (1024, 1)),
    ],
)
def test_a_step_is_split_over_processes(given, processes, expected):
    assert TrainSettings("out", 4096, max_iter=1, **given).split(processes) == expected


def test_splits_that_cannot_be():
    with pytest.raises(
        ConfigError, match=r"train.batch_size 4096 is not divisible by 3 processes x micro-batches of 64"
    ):
        TrainSettings("out", 4096, max_iter=1, micro_batch=64).split(3)
    with pytest.raises(ConfigError, match=r"train.batch_size 2 is not divisible by 4 processes x 1 accum_steps"):
        TrainSettings("out", 2, max_iter=1).split(4)
    with pytest.raises(ConfigError, match=r"train.micro_batch and train.accum_steps both set the size"):
        TrainSettings("out", 4096, max_iter=1, micro_batch=64, accum_steps=2)


def test_a_milestone_after_the_end_is_refused():
    with pytest.raises(ConfigError, match=r"train.milestones.epoch_700 is 700: .*from 1 to the last one"):
        TrainSettings("out", 4096, epochs=400, milestones={"epoch_700": 700})


def test_a_training_of_epochs(pretrain_config, tmp_path):
    cfg = pretrain_config(
        "train.max_iter=None", "train.epochs=2", "train.batch_size=600", "train.milestones={'first': 1}"
    )
    run_training(cfg)  # 1,397 images: two steps an epoch
    assert (tmp_path / "pretrain/checkpoints/step_0000004.pth").exists()
    assert torch.load(tmp_path / "pretrain/checkpoints/first.pth", weights_only=True)["step"] == 2


def weights(path):
    return torch.load(path, weights_only=True)


def test_fp16_scales_its_losses_and_resumes_exactly(finetune_config, tmp_path):
    options = ["train.precision=fp16", "train.clip_grad=1.0", "train.checkpoint_period=4", "train.log_period=1"]
    run_training(finetune_config(*options, out="whole"))
    saved = weights(tmp_path / "whole/checkpoints/step_0000004.pth")
    assert saved["scaler"]["scale"] > 1
    records = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(record["grad_norm"]) for record in records)

    (tmp_path / "resumed/checkpoints").mkdir(parents=True)
    (tmp_path / "whole/checkpoints/step_0000004.pth").rename(tmp_path / "resumed/checkpoints/step_0000004.pth")
    trainer = DefaultTrainer(finetune_config(*options, out="resumed"), resume=True)
    assert trainer.scaler.state_dict() == saved["scaler"]
    trainer.train()
    first, second = (weights(tmp_path / name / "model_final.pth")["model"] for name in ("whole", "resumed"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_overflow_leaves_the_weights_alone(finetune_config):
    trainer = DefaultTrainer(finetune_config("train.precision=fp16", "optimizer.lr=0.1"))
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 2.0**120})
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.model.train()
    trainer.step = 4  # past the first one, whose rate is 0
    for hook in trainer.hooks:
        hook.before_train()
        hook.before_step()
    trainer.run_step()
    for hook in trainer.hooks[-1:]:
        hook.after_train()
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.scaler.get_scale() == 2.0**119


def test_a_scale_that_sinks_out_of_sight_stops_the_run(finetune_config):
    trainer = DefaultTrainer(finetune_config("train.precision=fp16"))
    guard = next(hook for hook in trainer.hooks if isinstance(hook, NaNGuard))
    guard.before_train()
    guard.check()
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 2.0**-30})
    with pytest.raises(UserError, match="overflow fp16 at every loss scale"):
        guard.check()
