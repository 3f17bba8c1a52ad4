import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from dmaelab.losses import CR, RS, consistency_terms
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

CASES = json.loads((Path(__file__).parents[1] / "data" / "dmae_tiny" / "consistency_loss.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"m{case['m']}-lam{case['lbd']}-mu{case['eta']}")
def test_values_and_gradients_of_the_reference(case):
    logits = torch.tensor(case["logits"], requires_grad=True)
    divergence, entropy = consistency_terms(logits)
    loss = case["lbd"] * divergence + case["eta"] * entropy
    assert abs(loss.item() - case["loss"]) <= 1e-5
    loss.backward()
    torch.testing.assert_close(logits.grad, torch.tensor(case["grads"]), atol=1e-5, rtol=0)


def test_worked_value():
    logits = torch.tensor([[[2.0, 0.0, -1.0]], [[0.0, 1.0, 0.0]]])
    divergence, entropy = consistency_terms(logits)
    assert abs(divergence.item() - 0.257217) < 2e-6
    assert abs(entropy.item() - 0.966470) < 2e-6
    assert abs((2 * divergence + 0.5 * entropy).item() - 0.997670) < 2e-6


def test_identical_copies_do_not_diverge():
    logits = Draw(0, "train").normal((1, 7, 5)).expand(3, -1, -1)
    divergence, entropy = consistency_terms(logits)
    p = logits[0].softmax(dim=-1)
    assert abs(divergence) < 1e-6
    torch.testing.assert_close(entropy, torch.distributions.Categorical(p).entropy().mean())


def test_equal_weights_give_one_cross_entropy():
    """KL(pbar || p) + H(pbar) is the cross-entropy of p under pbar."""
    logits = Draw(0, "train").normal((2, 7, 5))
    divergence, entropy = consistency_terms(logits)
    log_p = logits.log_softmax(dim=-1)
    cross = -(log_p.exp().mean(dim=0) * log_p).sum(dim=-1).mean()
    torch.testing.assert_close(divergence + entropy, cross)


def test_gradient_flows_through_the_mean_prediction():
    logits = Draw(0, "train").normal((2, 3, 4)).requires_grad_()
    (grad,) = torch.autograd.grad(sum(consistency_terms(logits)), logits)

    exact = logits.detach().double()
    numeric = torch.zeros_like(exact)
    for i in range(exact.numel()):
        step = torch.zeros_like(exact)
        step.view(-1)[i] = 1e-5
        numeric.view(-1)[i] = (cross_entropy_of_the_mean(exact + step) - cross_entropy_of_the_mean(exact - step)) / 2e-5
    torch.testing.assert_close(grad.double(), numeric, atol=1e-6, rtol=0)

    mean_p = logits.softmax(dim=-1).mean(dim=0).detach()
    (without,) = torch.autograd.grad(-(mean_p * logits.log_softmax(dim=-1)).sum(dim=-1).mean(), logits)
    assert (without - grad).abs().max() > 0.01


def cross_entropy_of_the_mean(logits):
    """Return the sum of both terms in float64, from their definition."""
    p = logits.softmax(dim=-1)
    return -(p.mean(dim=0) * p.log()).sum(dim=-1).mean()


def test_exact_zeros_are_finite():
    logits = torch.tensor([[[300.0, 0.0, -300.0]], [[300.0, 1.0, -200.0]]], requires_grad=True)
    assert logits.softmax(dim=-1).mean(dim=0).eq(0).any()
    divergence, entropy = consistency_terms(logits)
    assert divergence == 0
    assert entropy == 0
    (2 * divergence + 0.5 * entropy).backward()
    assert logits.grad.isfinite().all()


def test_disagreement_without_overlap_is_finite():
    logits = torch.tensor([[[300.0, -300.0]], [[-300.0, 300.0]]], requires_grad=True)
    divergence, entropy = consistency_terms(logits)
    torch.testing.assert_close(entropy, torch.tensor(2.0).log())
    torch.testing.assert_close(divergence, 300 - torch.tensor(2.0).log())  # half of 600, less the entropy
    divergence.backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("copies", [2, 3])
def test_without_weights_cr_is_rs_on_its_copies(context, copies):
    case = context(copies)
    losses = CR(lam=0.0, mu=0.0, copies=copies)(case)
    logits = case.classifier(case.noisy().images)
    assert len(logits) == 6 * copies
    torch.testing.assert_close(losses["loss_ce"], F.cross_entropy(logits, torch.cat([case.targets] * copies)))
    assert losses["loss_consistency"] == losses["loss_entropy"] == 0
    one = RS()
    one.copies = copies
    torch.testing.assert_close(sum(losses.values()), one(case)["loss_ce"])


def test_terms_come_from_the_same_copies_and_are_weighted(context):
    case = context(2)
    divergence, entropy = consistency_terms(case.classifier(case.noisy().images).view(2, 6, 5))
    losses = CR(lam=3.0, mu=0.7, copies=2)(case)
    torch.testing.assert_close(losses["loss_consistency"], 3 * divergence)
    torch.testing.assert_close(losses["loss_entropy"], 0.7 * entropy)


def test_label_smoothing_touches_the_cross_entropy_only(context):
    case = context(2)
    hard, soft = CR()(case), CR(label_smoothing=0.1)(case)
    assert hard["loss_ce"] != soft["loss_ce"]
    assert hard["loss_consistency"] == soft["loss_consistency"]
    assert hard["loss_entropy"] == soft["loss_entropy"]


@pytest.mark.parametrize("copies", [1, 0])
def test_one_copy_has_nothing_to_compare(copies):
    with pytest.raises(UserError, match=r"loss\.copies is .*: consistency compares at least 2"):
        CR(copies=copies)
