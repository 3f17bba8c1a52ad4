import pytest
import torch
from torch import nn

from dmaelab.solver import build_adamw


def test_groups_reach_the_optimizer():
    optimizer = build_adamw(nn.Linear(2, 3), lr=0.1, weight_decay=0.3, betas=(0.9, 0.95))
    assert optimizer.defaults["lr"] == 0.1
    assert {(len(g["params"]), g["weight_decay"], g["lr_scale"], g["betas"]) for g in optimizer.param_groups} == {
        (1, 0.3, 1.0, (0.9, 0.95)),
        (1, 0.0, 1.0, (0.9, 0.95)),
    }


def test_two_steps_follow_the_formula():
    """Decoupled weight decay (Loshchilov & Hutter, 2019, Algorithm 2), on weights but not on biases."""
    model = nn.Linear(2, 2)
    lr, decay, (beta1, beta2), eps = 0.1, 0.3, (0.9, 0.95), 1e-8
    optimizer = build_adamw(model, lr=lr, weight_decay=decay, betas=(beta1, beta2))
    expected = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    first = {name: torch.zeros_like(p) for name, p in expected.items()}
    second = {name: torch.zeros_like(p) for name, p in expected.items()}
    for step in (1, 2):
        optimizer.zero_grad()
        model(torch.tensor([[1.0, -2.0 * step]])).square().sum().backward()
        for name, p in model.named_parameters():
            grad = p.grad.double()
            first[name] = beta1 * first[name] + (1 - beta1) * grad
            second[name] = beta2 * second[name] + (1 - beta2) * grad**2
            update = (first[name] / (1 - beta1**step)) / ((second[name] / (1 - beta2**step)).sqrt() + eps)
            expected[name] = expected[name] * (1 - lr * (decay if name == "weight" else 0)) - lr * update
        optimizer.step()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach().double(), expected[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_no_decay_names_parameters(name):
    model = nn.Linear(2, 3)
    optimizer = build_adamw(model, lr=0.1, weight_decay=0.3, no_decay=[name])
    decayed = [id(p) for g in optimizer.param_groups for p in g["params"] if g["weight_decay"] > 0]
    assert decayed == ([] if name == "weight" else [id(model.weight)])
