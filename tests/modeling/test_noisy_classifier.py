import pytest
import torch
from torch import nn

from dmaelab.corruptions import Gaussian
from dmaelab.losses import CR, RS, ClassificationLoss
from dmaelab.modeling import Classifier, NoisyClassifier, ViT


class Remember(ClassificationLoss):
    """Keeps its context."""

    copies = 3

    def forward(self, context):
        self.context = context
        return {"loss": context.classifier(context.images).sum()}


def noisy_classifier(loss, corruption=None):
    torch.manual_seed(0)
    classifier = Classifier(ViT(24, 1, 3, image_size=8, patch_size=4, drop_path=0.1), 4, [0.5] * 3, [0.25] * 3)
    nn.init.normal_(classifier.head.weight)
    return NoisyClassifier(classifier, corruption or Gaussian(0.25), loss)


def test_the_loss_gets_the_whole_context(batch):
    model = noisy_classifier(Remember())
    assert list(model(batch(progress=0.75))) == ["loss"]
    context = model.loss.context
    assert context.classifier is model.classifier
    assert torch.equal(context.images, batch().images)
    assert torch.equal(context.targets, batch().targets)
    assert context.progress == 0.75
    assert context.noisy().images.shape == (18, 3, 8, 8)  # as many copies as the loss says


@pytest.mark.parametrize("loss", [RS(), CR()], ids=["rs", "cr"])
def test_forward_repeats_itself_by_address(batch, loss):
    model = noisy_classifier(loss).eval()
    values = [sum(model(batch(key=key)).values()) for key in (0, 0, 1)]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_checkpoints_hold_the_plain_classifier(batch):
    model = noisy_classifier(RS())
    assert model.export() is model.classifier
    assert {name.split(".")[0] for name in model.state_dict()} == {"classifier"}
    assert set(model.export().state_dict()) == {name.removeprefix("classifier.") for name in model.state_dict()}


def test_evaluate(batch):
    model = noisy_classifier(RS(), Gaussian(0.0)).eval()
    with torch.no_grad():
        logits = model.classifier(batch().images)
    targets = logits.argmax(dim=1)
    targets[:2] = (targets[:2] + 1) % 4
    one = batch()
    metrics = model.evaluate(type(one)(one.images, targets, one.index, one.draw, 0.0))
    assert metrics["clean_accuracy"] == metrics["noisy_accuracy"] == pytest.approx(4 / 6)
    torch.testing.assert_close(metrics["noisy_loss"], nn.functional.cross_entropy(logits, targets))


def test_evaluate_looks_through_noise(batch):
    model = noisy_classifier(CR(), Gaussian(0.5)).eval()
    one = batch()
    noisy = Gaussian(0.5)(one.images, one.draw.child("corruption")).images
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model.classifier(noisy), one.targets)
    torch.testing.assert_close(model.evaluate(batch())["noisy_loss"], expected)


def test_layers_are_the_classifiers():
    model = noisy_classifier(RS())
    assert len(model.layers()) == len(model.classifier.backbone.layers()) == 2
