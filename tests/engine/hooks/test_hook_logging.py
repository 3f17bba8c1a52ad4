import pytest
import torch

from dmaelab.engine.hooks import LogHook, logging
from dmaelab.engine.writers import Writer


class Memory(Writer):
    """Keeps what it is told."""

    def __init__(self):
        self.calls, self.records = [], []

    def open(self, step):
        self.calls.append(("open", step))

    def write(self, step, values):
        self.records.append((step, dict(values)))

    def close(self):
        self.calls.append("close")


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def hook(memory):
    return LogHook([memory], period=2)


def test_every_writer_is_closed_where_one_fails(memory):
    class Fails(Memory):
        def close(self):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        LogHook([Fails(), memory], period=2).close()
    assert memory.calls == ["close"]


def test_a_record_is_the_mean_since_the_last_one(hook, memory, step):
    for number, value in enumerate([1.0, 3.0, 5.0, 6.0], start=1):
        step(hook, number, loss_ce=value)
    assert memory.records == [(2, {"loss_ce": 2.0, "lr": 0.5}), (4, {"loss_ce": 5.5, "lr": 0.5})]


def test_several_losses_have_a_sum_and_the_norm_a_mean(hook, memory, step, trainer):
    for number, norm in ((1, 1.0), (2, 4.0)):
        trainer.grad_norm = torch.tensor(norm)
        step(hook, number, loss_a=1.0, loss_b=float(number))
    assert memory.records == [(2, {"loss_a": 1.0, "loss_b": 1.5, "loss": 2.5, "grad_norm": 2.5, "lr": 0.5})]


def test_the_last_step_is_written_wherever_it_falls(hook, memory, step, trainer):
    trainer.max_iter = 3
    for number in (1, 2, 3):
        step(hook, number, loss=float(number))
    assert [(number, values["loss"]) for number, values in memory.records] == [(2, 1.5), (3, 3.0)]


def test_the_rate_is_that_of_the_fastest_group(hook, memory, step, trainer):
    first, second = trainer.model.parameters()
    trainer.optimizer = torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.2}], lr=0.9)
    step(hook, 2, loss=1.0)
    assert memory.records[0][1]["lr"] == 0.2


def test_what_others_found_is_written_at_once_and_once(hook, memory, step, trainer):
    trainer.pending["eval_accuracy"] = 0.25
    step(hook, 1, loss=1.0)
    assert memory.records == [(1, {"eval_accuracy": 0.25})]
    trainer.pending["eval_accuracy"] = 0.5
    step(hook, 2, loss=3.0)  # the mean still holds both steps
    assert memory.records[1:] == [(2, {"loss": 2.0, "lr": 0.5, "eval_accuracy": 0.5})]
    step(hook, 3, loss=1.0)
    assert len(memory.records) == 2


def test_only_the_first_process_writes(hook, memory, step, trainer, monkeypatch):
    monkeypatch.setattr(logging, "is_main", lambda: False)
    trainer.pending["eval_accuracy"] = 0.5
    step(hook, 2, loss=1.0)
    assert memory.records == []
    assert trainer.pending == {}


def test_a_record_that_a_stop_cut_in_two_is_whole(memory, step, trainer):
    first, second = LogHook([], period=2), LogHook([memory], period=2)
    step(first, 1, loss=1.0)
    second.trainer = trainer
    second.load_state_dict(first.state_dict())
    trainer.step, trainer.losses = 2, {"loss": torch.tensor(3.0)}
    second.after_step()
    assert memory.records == [(2, {"loss": 2.0, "lr": 0.5})]


def test_writers_are_opened_at_the_step_and_closed(hook, memory, trainer):
    trainer.register_hooks([hook])
    trainer.step = 6
    hook.before_train()
    hook.close()
    assert memory.calls == [("open", 6), "close"]
