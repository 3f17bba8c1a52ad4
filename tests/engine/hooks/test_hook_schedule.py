import pytest
import torch

from dmaelab.engine.hooks import ScheduleHook


def test_each_group_gets_its_share_of_the_peak(trainer):
    first, second = trainer.model.parameters()
    trainer.optimizer = torch.optim.SGD([{"params": [first]}, {"params": [second], "lr_scale": 0.5}], lr=0.8)
    progress = []
    hook = ScheduleHook(lambda share: progress.append(share) or 1 - share)
    trainer.register_hooks([hook])
    for trainer.step, rates in [(0, [0.8, 0.4]), (5, [0.4, 0.2]), (9, [0.08, 0.04])]:
        hook.before_step()
        assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx(rates)
    assert progress == [0.0, 0.5, 0.9]


def test_a_rate_that_came_with_a_checkpoint_does_not_last(trainer):
    trainer.optimizer.param_groups[0]["lr"] = 123.0
    hook = ScheduleHook(lambda share: 0.1)
    trainer.register_hooks([hook])
    for _ in range(2):  # nor does the factor apply twice
        hook.before_step()
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
