"""Contract check of losses."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmaelab.corruptions import build_corruption
from dmaelab.interfaces import Batch
from dmaelab.losses import ClassificationLoss, ReconstructionLoss
from dmaelab.modeling import NoisyContext
from dmaelab.testing.expect import Expect
from dmaelab.utils.random import Draw
from dmaelab.utils.seeding import global_generators


def check_loss(loss: ReconstructionLoss | ClassificationLoss) -> None:
    """Check that a loss keeps the contract of ``ReconstructionLoss`` or ``ClassificationLoss``.

    * Its values are finite float32 scalars with gradients, also under bfloat16 autocast.
    * It uses no global random generator, changes none of its inputs, and does not read values back to the host.
    * A reconstruction loss is smaller for a perfect reconstruction.
    * A classification loss gives the same values for the same batch and draw, reaches every parameter of the
      classifier, and leaves the classifier in training mode, with no parameter frozen and no ``.grad`` written.

    Raises:
        AssertionError: the contract is broken; the text names the first problem.
    """
    expect = Expect(loss)
    if isinstance(loss, ReconstructionLoss):
        _check_reconstruction(expect, loss)
    else:
        expect(isinstance(loss, ClassificationLoss), "it is neither a ReconstructionLoss nor a ClassificationLoss")
        _check_classification(expect, loss)


def _check_reconstruction(expect: Expect, loss: ReconstructionLoss) -> None:
    pred, target = (Draw(0, "call", name).normal((2, 6, 12)) for name in ("pred", "target"))
    mask = torch.tensor([[1.0, 1, 0, 1, 1, 0], [0, 1, 1, 0, 1, 1]])
    pred.requires_grad_()
    with expect.isolation(pred, target, mask), expect.on_device():
        values = {
            "the loss": loss(pred, target, mask),
            "the loss of a bfloat16 prediction": loss(pred.bfloat16(), target, mask),
        }
        perfect = loss(target, target, mask)
    _check_scalars(expect, values)
    expect(values["the loss"].requires_grad, "it has no gradient")
    (gradient,) = torch.autograd.grad(values["the loss"], pred)
    expect(gradient.isfinite().all() and gradient.any(), "the gradient is zero or not finite")
    expect(perfect < values["the loss"], "the loss of a perfect reconstruction is not smaller")


def _check_classification(expect: Expect, loss: ClassificationLoss) -> None:
    expect(
        isinstance(loss.copies, int) and loss.copies >= 1, f"copies is {loss.copies!r}; give an integer of at least 1"
    )
    expect(isinstance(loss.needs_hard_labels, bool), f"needs_hard_labels is {loss.needs_hard_labels!r}, not a bool")
    with global_generators(0):
        classifier = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Linear(8, 5))
    parameters = list(classifier.parameters())
    images, targets, index = Draw(0, "call", "images").uniform((6, 3, 8, 8)), torch.arange(6) % 5, torch.arange(6)
    corruption = build_corruption("gaussian", sigma=0.25)

    # Each call gets a network of its own. A forward in training mode updates the statistics of the batch norm, and a
    # loss that attacks in evaluation mode would use the updated ones in the next call.
    networks = iter([classifier, *(copy.deepcopy(classifier) for _ in range(3))])

    def values_at(progress: float) -> dict[str, Tensor]:
        batch = Batch(images, targets, index, Draw(0, "train", 0, 0), progress)
        return loss(NoisyContext(next(networks), corruption, batch, loss.copies))

    with expect.isolation(images, targets, *parameters), expect.on_device():
        first, again, late = values_at(0.0), values_at(0.0), values_at(0.999)
        with torch.autocast("cpu", torch.bfloat16):
            low = values_at(0.0)
    for values in (first, again, late, low):
        expect(
            isinstance(values, Mapping) and values,
            f"it returns {type(values).__name__}; return a dict of named scalars",
        )
        _check_scalars(expect, values)
    expect(all(torch.equal(first[name], again[name]) for name in first), "one batch and draw gave two different values")
    expect(all(module.training for module in classifier.modules()), "it leaves the classifier in evaluation mode")
    expect(all(p.requires_grad for p in parameters), "it leaves parameters of the classifier frozen")
    expect(
        all(p.grad is None for p in parameters),
        "it writes .grad of the classifier; attacks use torch.autograd.grad on inputs",
    )
    total = torch.stack([*first.values()]).sum()
    expect(total.requires_grad, "it has no gradient")
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    expect(
        all(g is not None and g.isfinite().all() for g in gradients),
        "a parameter of the classifier gets no finite gradient",
    )


def _check_scalars(expect: Expect, values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        expect(isinstance(value, Tensor) and value.ndim == 0, f"{name} is no scalar tensor")
        expect(value.dtype == torch.float32, f"{name} is {value.dtype}; compute it in float32, under autocast as well")
        expect(value.isfinite(), f"{name} is not finite")
