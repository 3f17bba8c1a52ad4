"""The contract of losses, held by every registered one."""

import pytest
import torch

from dmaelab.losses import LOSSES, ClassificationLoss, ReconstructionLoss, build_loss
from dmaelab.utils.random import Draw

BUILT = {name: build_loss(name) for name in LOSSES.names()}
RECONSTRUCTION = [name for name, loss in BUILT.items() if isinstance(loss, ReconstructionLoss)]
CLASSIFICATION = [name for name, loss in BUILT.items() if isinstance(loss, ClassificationLoss)]


def total(losses):
    return torch.stack(list(losses.values())).sum()


def test_every_loss_is_of_one_of_the_two_kinds():
    own = [
        name for name in LOSSES.names() if LOSSES.get(name).__module__.startswith("dmaelab.")
    ]  # not those of plug-ins
    assert sorted(RECONSTRUCTION + CLASSIFICATION) == own


@pytest.mark.parametrize("name", RECONSTRUCTION)
def test_reconstruction_losses(name):
    draw = Draw(0, "train")
    target = draw.child("target").normal((2, 8, 12))
    pred = draw.child("pred").normal((2, 8, 12)).requires_grad_()
    mask = (torch.arange(16).view(2, 8) % 4 > 0).float()
    loss = BUILT[name](pred, target, mask)
    assert loss.shape == ()
    assert loss.item() > 0
    (grad,) = torch.autograd.grad(loss, pred)
    assert grad.isfinite().all()
    assert BUILT[name](target, target, mask) == 0
    assert BUILT[name](pred.bfloat16(), target, mask).dtype == torch.float32


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_losses(name, context):
    loss = BUILT[name]
    assert loss.copies >= 1
    case = context(loss.copies)
    losses = loss(case)
    assert losses
    for key, value in losses.items():
        assert key.startswith("loss")
        assert value.shape == ()
        assert value.dtype == torch.float32
    total(losses).backward()
    for parameter in case.classifier.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_losses_are_functions_of_the_address(name, context):
    loss = BUILT[name]
    assert torch.equal(total(loss(context(loss.copies))), total(loss(context(loss.copies))))
    assert total(loss(context(loss.copies))) != total(loss(context(loss.copies, key=1)))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_losses_are_single_precision_under_bf16(name, context):
    loss = BUILT[name]
    case = context(loss.copies)
    with torch.autocast("cpu", torch.bfloat16):
        losses = loss(case)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    torch.testing.assert_close(total(losses), total(loss(context(loss.copies))), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("base", [ReconstructionLoss, ClassificationLoss])
def test_a_loss_must_define_forward(base):
    arguments = (None,) * (3 if base is ReconstructionLoss else 1)
    with pytest.raises(NotImplementedError, match="Nothing must define forward"):
        type("Nothing", (base,), {})()(*arguments)
