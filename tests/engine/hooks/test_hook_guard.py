import pytest
import torch

from dmaelab.engine.hooks import NaNGuard
from dmaelab.utils.errors import UserError

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def guard(trainer):
    guard = NaNGuard(period=4)
    trainer.register_hooks([guard])
    guard.before_train()
    return guard


@pytest.fixture
def backward(trainer, guard):
    """Return a function that shows the guard the losses and the norm of one step after another."""

    def steps(*losses, norm=None):
        for value in losses:
            trainer.losses = {"loss_a": torch.tensor(1.0), "loss_b": torch.tensor(value)}
            trainer.grad_norm = None if norm is None else torch.tensor(norm)
            guard.after_backward()
            trainer.step += 1

    return steps


def test_the_first_bad_step_is_named_also_where_later_ones_were_good(guard, backward):
    backward(0.1, INF, 0.2)
    with pytest.raises(UserError, match="inf at step 2 "):
        guard.check()
    backward(NAN)
    with pytest.raises(UserError, match="inf at step 2 and still is"):
        guard.check()


def test_it_looks_at_the_end_of_a_period_only(guard, backward, trainer):
    backward(NAN)
    for trainer.step in (1, 2, 3):
        guard.after_step()
    trainer.step = 4
    with pytest.raises(UserError, match="at step 1 "):
        guard.after_step()


def test_a_gradient_that_is_no_number_is_found(guard, backward):
    backward(0.1, norm=1.0)
    guard.check()
    backward(0.1, norm=INF)
    with pytest.raises(UserError, match="at step 2 "):
        guard.check()


def test_weights_that_are_no_numbers_are_found_though_every_loss_was_fine(guard, backward, trainer):
    backward(0.1, 0.2, 0.3)
    guard.check()
    with torch.no_grad():
        trainer.inner.bias.fill_(NAN)
    with pytest.raises(UserError, match="at step 3 "):
        guard.check()


def test_a_new_training_forgets_the_bad_steps_of_the_last(guard, backward):
    backward(NAN, 0.1)
    guard.before_train()
    guard.check()


def test_a_loss_in_half_precision_that_overflows_is_found(guard, trainer):
    trainer.losses = {"loss": torch.tensor(70000.0).to(torch.float16)}
    guard.after_backward()
    trainer.step = 4
    with pytest.raises(UserError, match="at step 1 "):
        guard.check()


def test_a_scale_that_sinks_out_of_sight_stops_the_run(guard, trainer):
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-20)
    trainer.scaler.scale(torch.tensor(1.0))  # makes the scale
    guard.check()
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-21)
    trainer.scaler.scale(torch.tensor(1.0))
    with pytest.raises(UserError, match="overflow fp16 at every loss scale"):
        guard.check()
