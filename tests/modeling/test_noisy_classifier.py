import pytest
import torch
from torch import nn

from dmaelab.corruptions import Gaussian
from dmaelab.losses import CR, RS, ClassificationLoss
from dmaelab.modeling import Classifier, LossContext, NoisyClassifier, ViT
from dmaelab.utils.random import Draw


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


@pytest.fixture
def context(batch):
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    return LossContext(classifier, Gaussian((0.1, 0.5)), batch(), 2, {})


def test_the_loss_gets_the_whole_context(batch):
    model = noisy_classifier(Remember())
    assert list(model(batch(progress=0.75))) == ["loss"]
    context = model.loss.context
    assert context.classifier is model.classifier
    assert torch.equal(context.images, batch().images)
    assert torch.equal(context.targets, batch().targets)
    assert context.progress == 0.75
    assert context.aux is model.aux
    assert context.noisy().images.shape == (18, 3, 8, 8)  # as many copies as the loss says


def test_one_tag_is_one_noise(context):
    first, again, other = context.noisy(), context.noisy(tag="train"), context.noisy(tag="attack")
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.images, other.images)


def test_the_noise_does_not_depend_on_the_images(context):
    """So an attack on shifted images and the outer loss see one eta."""
    shifted = context.noisy(images=context.images + 1)
    torch.testing.assert_close(shifted.images - 1, context.noisy().images, atol=1e-5, rtol=0)


def test_fewer_copies_are_the_first_of_many(context):
    assert torch.equal(context.noisy(copies=1).images, context.noisy(copies=4).images[:6])
    assert context.noisy().images.shape[0] == 12


def test_noise_passes_gradients_to_images(context):
    images = context.images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(context.noisy(images=images).images.sum(), images)
    torch.testing.assert_close(grad, torch.full_like(images, 2.0))


def test_draw_is_apart_from_the_noise(context):
    assert context.draw.child("own").seed() != Draw(0, "train", 0, 0).child("corruption", "own").seed()
    assert torch.equal(context.draw.child("own").bits(2), context.draw.child("own").bits(2))


def state(module):
    return [m.training for m in module.modules()], [p.requires_grad for p in module.parameters()]


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_frozen_restores_each_module_and_parameter(context, error):
    context.classifier[2].eval()
    context.classifier[1].bias.requires_grad_(False)
    before = state(context.classifier)
    assert len(set(before[0])) == len(set(before[1])) == 2
    try:
        with context.frozen() as classifier:
            assert classifier is context.classifier
            assert not any(state(classifier)[0] + state(classifier)[1])
            if error:
                raise error("an attack failed")
    except RuntimeError as caught:
        assert str(caught) == "an attack failed"  # noqa: PT017 - one test for both ends
    assert state(context.classifier) == before


def test_an_attack_differentiates_images_while_frozen(context):
    before = [p.clone() for p in context.classifier.parameters()]
    images = context.images.clone().requires_grad_()
    statistics = context.classifier[2].running_mean.clone()
    with context.frozen() as classifier:
        (grad,) = torch.autograd.grad(classifier(context.noisy(images=images, copies=1).images).square().sum(), images)
    assert grad.abs().sum() > 0
    assert all(p.grad is None for p in context.classifier.parameters())
    assert all(map(torch.equal, before, context.classifier.parameters()))
    assert torch.equal(context.classifier[2].running_mean, statistics)


@pytest.mark.parametrize("loss", [RS(), CR()], ids=["rs", "cr"])
def test_forward_repeats_itself_by_address(batch, loss):
    model = noisy_classifier(loss).eval()
    values = [sum(model(batch(key=key)).values()) for key in (0, 0, 1)]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_checkpoints_hold_the_plain_classifier(batch):
    model = noisy_classifier(RS())
    model.aux["teacher"] = nn.Linear(2, 2)
    assert model.export() is model.classifier
    assert {name.split(".")[0] for name in model.state_dict()} == {"classifier"}
    assert set(model.export().state_dict()) == {name.removeprefix("classifier.") for name in model.state_dict()}
    assert model.aux["teacher"] not in list(model.modules())


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
