"""What the trainer owns itself: the scaling of losses in half precision."""

import json
import math

import torch

from dmaelab.engine import run_training
from dmaelab.engine.defaults import DefaultTrainer


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
