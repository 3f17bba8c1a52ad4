"""Gradients of a step do not depend on how many micro-batches it is made of."""

import pytest
import torch

from dmaelab.corruptions import Gaussian
from dmaelab.data import Samples
from dmaelab.engine import Hook, Trainer
from dmaelab.losses import CR, RS
from dmaelab.modeling import Classifier, NoisyClassifier, ViT
from dmaelab.utils.random import Draw


class Gradients(Hook):
    """Keeps the gradients that the optimizer is given."""

    def after_backward(self):
        self.kept = {name: p.grad.clone() for name, p in self.trainer.inner.named_parameters()}


def gradients(accum_steps, loss, images, targets):
    """Return the gradients of one step on 8 images in ``accum_steps`` micro-batches, without noise."""
    torch.manual_seed(0)
    backbone = ViT(16, 1, 2, image_size=8, patch_size=4, in_channels=1)
    classifier = Classifier(backbone, 4, [0.5], [0.25])
    torch.nn.init.normal_(classifier.head.weight)
    model = NoisyClassifier(classifier, Gaussian(0.0), loss)
    parts = zip(*(t.chunk(accum_steps) for t in (images, targets, torch.arange(8))), strict=True)
    micro_batches = iter([Samples(*part) for part in parts])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, optimizer, micro_batches, max_iter=1, device=torch.device("cpu"), accum_steps=accum_steps)
    hook = Gradients()
    trainer.register_hooks([hook])
    trainer.train()
    return hook.kept


@pytest.mark.parametrize("loss", [RS(), CR()], ids=["rs", "cr"])
@pytest.mark.parametrize("accum_steps", [2, 4, 8])
def test_micro_batches_sum_to_one_batch(accum_steps, loss):
    images, targets = Draw(0, "data").uniform((8, 1, 8, 8)), torch.arange(8) % 4
    whole, split = gradients(1, loss, images, targets), gradients(accum_steps, loss, images, targets)
    for name, grad in whole.items():
        assert (split[name] - grad).norm() <= 1e-6 * max(grad.norm(), 1), name
    assert max(grad.norm() for grad in whole.values()) > 0.1
