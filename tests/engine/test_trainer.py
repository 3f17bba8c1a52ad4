"""The loop itself: hooks, micro-batches, clipping, and the scaling of losses in half precision."""

import json
import math

import pytest
import torch

from dmaelab.engine import Hook, run_training
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.hooks import NaNGuard
from dmaelab.engine.trainer import Trainer
from dmaelab.utils.errors import ConfigError, UserError


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
    for hook in trainer.hooks:
        hook.close()
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.scaler.get_scale() == 2.0**119


class Ask(Hook):
    """Writes down the moments at which it is called."""

    def __init__(self, fail=None):
        self.calls, self.fail = [], fail

    def _note(self, moment):
        self.calls.append((moment, self.trainer.step))
        if moment == self.fail:
            raise UserError("as asked for")

    before_train, before_step, after_backward, after_step, after_train, close = (
        (lambda self, moment=moment: self._note(moment))
        for moment in ("before_train", "before_step", "after_backward", "after_step", "after_train", "close")
    )


class Mean(torch.nn.Linear):
    """Its losses are the mean brightness of a batch, seen through one layer, and a half."""

    def __init__(self):
        super().__init__(1, 1, bias=False)
        torch.nn.init.ones_(self.weight)

    def forward(self, batch):
        return {"mean": super().forward(batch.images.mean().reshape(1, 1)).sum(), "half": self.weight.sum() / 2}


def trainer_of(*values, steps=2, **options):
    """Return a trainer whose micro-batches are single grey images of these values."""
    model = Mean()
    samples = ((torch.full((1, 1, 2, 2), value), torch.zeros(1).long(), torch.zeros(1).long()) for value in values)
    return Trainer(model, torch.optim.SGD(model.parameters(), lr=1.0), samples, steps, torch.device("cpu"), **options)


def test_hooks_are_called_around_the_steps_in_their_order():
    hook, trainer = Ask(), trainer_of(0.5, 0.5)
    trainer.register_hooks([hook])
    trainer.train()
    step = ("before_step", "after_backward", "after_step")
    assert hook.calls == [
        ("before_train", 0), *zip(step, (0, 0, 1), strict=True), *zip(step, (1, 1, 2), strict=True),
        ("after_train", 2), ("close", 2),
    ]  # fmt: skip


def test_every_hook_is_closed_where_one_fails():
    first, trainer = Ask(), trainer_of(0.5, 0.5)
    second = type("Second", (Ask,), {})(fail="after_step")
    trainer.register_hooks([first, second])
    with pytest.raises(UserError, match="as asked for"):
        trainer.train()
    assert first.calls[-2:] == [("after_step", 1), ("close", 1)]
    assert second.calls[-1] == ("close", 1)


class FailsToClose(Ask):
    """A hook that raises an error when it is closed."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def close(self):
        raise self.error


def test_every_hook_is_closed_after_a_second_ctrl_c(log_messages):
    trainer, last = trainer_of(0.5, 0.5), Ask()
    ends = type("Ends", (Ask,), {})(fail="after_step")
    trainer.register_hooks([ends, FailsToClose(KeyboardInterrupt()), last])
    with pytest.raises(UserError, match="as asked for"):
        trainer.train()
    assert last.calls[-1] == ("close", 1)
    assert "closing a hook failed, too: KeyboardInterrupt: " in log_messages


def test_of_several_errors_in_closing_the_first_is_raised_and_the_others_are_logged(log_messages):
    trainer, last = trainer_of(0.5, 0.5), Ask()
    second = type("Second", (FailsToClose,), {})(OSError("the disk is full"))
    trainer.register_hooks([FailsToClose(KeyboardInterrupt()), second, last])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert last.calls[-1] == ("close", 2)
    assert "closing a hook failed, too: OSError: the disk is full" in log_messages


def test_a_training_without_steps_left_begins_and_ends():
    hook, trainer = Ask(), trainer_of()
    trainer.step = 2
    trainer.register_hooks([hook])
    trainer.train()
    assert [moment for moment, _ in hook.calls] == ["before_train", "after_train", "close"]


def test_two_hooks_of_one_name_are_refused_and_hooks_are_found_by_class():
    hook, trainer = Ask(), trainer_of()
    trainer.register_hooks([hook])
    with pytest.raises(ConfigError, match="hooks: two are called Ask"):
        trainer.register_hooks([Ask()])
    assert trainer.find_hook(Hook) is hook
    assert trainer.find_hook(NaNGuard) is None


def test_micro_batches_are_averaged_before_one_step():
    trainer = trainer_of(0.25, 0.75, accum_steps=2)
    trainer.run_step()
    assert trainer.losses["mean"] == pytest.approx(0.5)
    assert trainer.losses["half"] == pytest.approx(0.5)
    assert trainer.model.weight.item() == pytest.approx(1.0 - (0.5 + 0.5))  # one step along the gradient of the sum
    assert trainer.model.weight.grad is None


@pytest.mark.parametrize(("limit", "moved"), [(None, 1.5), (10.0, 1.5), (0.5, 0.5)])
def test_the_norm_is_that_before_clipping(limit, moved):
    trainer = trainer_of(1.0, clip_grad=limit)
    trainer.run_step()
    assert trainer.model.weight.item() == pytest.approx(1.0 - moved, abs=1e-4)
    assert trainer.grad_norm == (None if limit is None else pytest.approx(1.5))


def test_a_state_continues_with_the_options_of_the_config():
    first = trainer_of(0.5)
    first.register_hooks([Ask()])
    first.run_step()
    first.step = 1
    saved = first.state_dict()
    assert set(saved["hooks"]) == {"Ask"}
    second = trainer_of()
    second.optimizer.param_groups[0]["lr"] = 0.125
    second.register_hooks([NaNGuard(1)])  # one that the state does not know
    second.load_state_dict(saved)
    assert second.step == 1
    assert torch.equal(second.model.weight, first.model.weight)
    assert second.optimizer.param_groups[0]["lr"] == 0.125
