"""LARS against its formula, written out in numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from dmaelab.engine.hooks import ScheduleHook
from dmaelab.solver import LARS, build_lars, warmup_cosine

GRADS = {"weight": [[0.5, -1.0, 2.0], [0.0, 3.0, -0.25]], "bias": [4.0, -8.0]}


def formula(parameter, grads, rates, weight_decay, momentum=0.9, trust=0.001):
    """MAE's probe: returns the parameter after one step per gradient."""
    mu = np.zeros_like(parameter)
    for grad, rate in zip(grads, rates, strict=True):
        if parameter.ndim > 1:
            grad = grad + weight_decay * parameter
            sizes = np.linalg.norm(parameter), np.linalg.norm(grad)
            grad = grad * (trust * sizes[0] / sizes[1] if min(sizes) > 0 else 1.0)
        mu = momentum * mu + grad
        parameter = parameter - rate * mu
    return parameter


def probe():
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


def step(model, optimizer, number):
    """Take a step on the gradients above times ``number + 1``."""
    for name, parameter in model.named_parameters():
        parameter.grad = torch.tensor(GRADS[name], dtype=torch.float64) * (number + 1)
    optimizer.step()


def expected(model, rates, weight_decay=0.0):
    return {
        name: formula(
            p.detach().numpy().copy(), [np.array(GRADS[name]) * (i + 1) for i in range(len(rates))], rates, weight_decay
        )
        for name, p in model.named_parameters()
    }


def same(model, values):
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), values[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_follow_the_formula(steps, weight_decay):
    model = probe()
    optimizer = build_lars(model, lr=6.4, weight_decay=weight_decay)
    values = expected(model, [6.4] * steps, weight_decay)
    for number in range(steps):
        step(model, optimizer, number)
    same(model, values)


def test_a_bias_takes_the_whole_rate_without_decay():
    model = probe()
    before = model.bias.detach().clone()
    step(model, build_lars(model, lr=6.4, weight_decay=0.5), 0)
    torch.testing.assert_close(model.bias.detach(), before - 6.4 * torch.tensor(GRADS["bias"], dtype=torch.float64))


@pytest.mark.parametrize("zero", ["parameter", "gradient", "both"])
def test_where_a_norm_is_zero_the_ratio_is_one(zero):
    start = torch.full((2, 2), 0.0 if zero != "gradient" else 3.0)
    grad = torch.full((2, 2), 0.0 if zero != "parameter" else 2.0)
    parameter = nn.Parameter(start.clone())
    parameter.grad = grad
    LARS([parameter], lr=0.5).step()
    assert torch.equal(parameter.detach(), start - 0.5 * grad)


def test_the_gradient_is_left_as_it_was():
    model = probe()
    step(model, build_lars(model, lr=1.0, weight_decay=0.1), 0)
    assert model.weight.grad.tolist() == GRADS["weight"]


def test_a_stopped_run_goes_on_from_its_state():
    whole, first = probe(), probe()
    optimizer = build_lars(whole, lr=6.4)
    for number in range(3):
        step(whole, optimizer, number)
    optimizer = build_lars(first, lr=6.4)
    step(first, optimizer, 0)
    second = probe()
    second.load_state_dict(first.state_dict())
    resumed = build_lars(second, lr=6.4)
    resumed.load_state_dict(optimizer.state_dict())
    for number in (1, 2):
        step(second, resumed, number)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_the_schedule_sets_the_rate_outside_the_momentum():
    model = probe()
    optimizer = build_lars(model, lr=6.4)
    optimizer.param_groups[0]["lr_scale"] = 0.5
    schedule = warmup_cosine(0.5)
    hook = ScheduleHook(schedule)
    values = expected(model, [3.2 * schedule(number / 4) for number in range(4)])
    for number in range(4):
        hook.trainer = SimpleNamespace(step=number, max_iter=4, optimizer=optimizer)
        hook.before_step()
        step(model, optimizer, number)
    same(model, values)


def test_a_step_that_overflows_in_fp16_is_left_out():
    """Weights and momentum stay, the scale halves, and the next step is the second of the formula."""
    model = probe().float()
    values = expected(model, [6.4] * 2)
    optimizer, scaler = build_lars(model, lr=6.4), torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def scaled_step(number, overflow=False):
        for name, parameter in model.named_parameters():
            parameter.grad = torch.tensor(GRADS[name]) * (number + 1) * scaler.get_scale()
        if overflow:
            model.weight.grad[0, 1] = torch.inf  # one value is enough: the bias stays too
        scaler.step(optimizer)
        scaler.update()

    def state():
        return [t.clone() for p in model.parameters() for t in (p.detach(), optimizer.state[p]["momentum_buffer"])]

    scaler.scale(torch.zeros(()))  # sets it up, as the loss of the first step does
    scaled_step(0)
    before = state()
    scaled_step(1, overflow=True)
    assert all(torch.equal(old, new) for old, new in zip(before, state(), strict=True))
    assert scaler.get_scale() == 2.0**15
    scaled_step(1)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), values[name], rtol=1e-6, atol=1e-6)


def test_frozen_parameters_and_those_without_gradient_stay():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = build_lars(model, lr=1.0)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    model[2](torch.ones(1, 2)).sum().backward()  # past the second layer
    assert optimizer.step(lambda: 7.0) == 7.0
    assert [torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)] == [True] * 4 + [
        False
    ] * 2
