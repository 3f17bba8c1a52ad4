import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dmaelab.corruptions import Gaussian
from dmaelab.data import Batch
from dmaelab.losses import CR, RS, ClassificationLoss
from dmaelab.losses.classification import cross_entropy
from dmaelab.modeling import Classifier, Mixing, NoisyClassifier, NoisyContext, ViT
from dmaelab.modeling.mixing import Mix
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw

SIGMA = 0.5


class Ten(torch.nn.Module):
    num_classes = 10


def batch(count=6, size=16):
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, size, size) / 10
    return Batch(images, torch.arange(count) % 10, torch.arange(count), Draw(0, "train", 0, 0), 0.0)


def context(copies, mixing, count=6, size=16):
    return NoisyContext(Ten(), Gaussian(SIGMA), batch(count, size), copies, mixing)


def weight_of(context):
    """The weight of the batch, from the label of image 0 and its partner's."""
    return float(context.targets[0, 0])


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_keep_a_common_clean_partner(copies):
    mixed = context(copies, Mixing(cutmix=0), size=128)
    weight, images = weight_of(mixed), mixed.noisy().images
    clean = batch().images[:, 0, 0, 0]
    expected = weight * clean + (1 - weight) * clean.flip(0)
    means = images.mean(dim=(1, 2, 3)).view(copies, 6)
    assert 0.01 < weight < 0.99  # otherwise nothing is seen here
    torch.testing.assert_close(means, expected.expand(copies, 6), atol=0.02, rtol=0)
    assert copies == 1 or not torch.equal(images[:6], images[6:12])


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_noise_of_a_mix(copies):
    """After the noise mixup averages two noises; CutMix, and mixing before the noise, keep all of it."""

    def std(mixing):
        mixed = context(copies, mixing, size=128)
        images = mixed.noisy().images
        return float((images - images.mean(dim=(2, 3), keepdim=True)).square().mean().sqrt()), weight_of(mixed)

    after, weight = std(Mixing(cutmix=0))
    assert after == pytest.approx(SIGMA * (weight**2 + (1 - weight) ** 2) ** 0.5, rel=0.01)
    assert std(Mixing(cutmix=0, after_noise=False))[0] == pytest.approx(SIGMA, rel=0.01)


def test_cutmix_keeps_the_noise_and_counts_the_area_of_its_box():
    mix = Mixing(mixup=0).choose(128, 128, np.random.default_rng(1))
    noise = torch.randn(2, 1, 128, 128, generator=torch.Generator().manual_seed(0)) * SIGMA
    assert float(mix.images(noise).std()) == pytest.approx(SIGMA, rel=0.02)
    pair = torch.stack([torch.zeros(1, 128, 128), torch.ones(1, 128, 128)])
    assert 0.05 < mix.weight < 0.95
    assert float(mix.images(pair)[0].mean()) == pytest.approx(1 - mix.weight, abs=1e-6)
    assert torch.equal(mix.targets(torch.tensor([3, 7]), 10)[0, [3, 7]], torch.tensor([mix.weight, 1 - mix.weight]))


def test_rows_of_targets_are_probabilities_and_the_same_for_all_copies():
    mixed = context(3, Mixing())
    assert mixed.targets.shape == (6, 10)
    torch.testing.assert_close(mixed.targets.sum(dim=1), torch.ones(6))


def test_a_batch_mixes_the_same_way_again_and_another_one_differently():
    assert weight_of(context(1, Mixing())) == weight_of(context(2, Mixing()))
    rng = np.random.default_rng(0)
    mixes = [Mixing().choose(32, 32, rng) for _ in range(400)]
    assert 0.4 < np.mean([mix.box is None for mix in mixes]) < 0.6
    weights = [mix.weight for mix in mixes if mix.box is None]
    assert np.mean([np.hypot(w, 1 - w) for w in weights]) == pytest.approx(0.827, abs=0.02)  # of Beta(.8, .8)


def test_targets_without_mixing_are_those_of_label_smoothing():
    logits, targets = torch.randn(4, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 5, 0, 9])
    soft = Mix(1.0).targets(targets, 10)
    smoothed = 0.9 * soft + 0.1 / 10
    expected = -(smoothed * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(cross_entropy(logits, soft, 1, 0.1), expected)
    torch.testing.assert_close(cross_entropy(logits, targets, 1, 0.1), expected)
    torch.testing.assert_close(F.cross_entropy(logits, targets, label_smoothing=0.1), expected)


def test_cross_entropy_of_copies_against_soft_targets_by_hand():
    """Rows of copies, copy-major: image 0 and 1 of copy 0, then of copy 1; each against the target of its image."""
    probabilities = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.8, 0.2], [0.1, 0.9]])
    targets = torch.tensor([[0.7, 0.3], [0.4, 0.6]])
    rows = [
        -math.log(0.5),
        -0.4 * math.log(0.25) - 0.6 * math.log(0.75),
        -0.7 * math.log(0.8) - 0.3 * math.log(0.2),
        -0.4 * math.log(0.1) - 0.6 * math.log(0.9),
    ]
    assert float(cross_entropy(probabilities.log(), targets, 2, 0.0)) == pytest.approx(sum(rows) / 4, rel=1e-6)
    smoothed = [
        -math.log(0.5),
        -0.41 * math.log(0.25) - 0.59 * math.log(0.75),
        -0.68 * math.log(0.8) - 0.32 * math.log(0.2),
        -0.41 * math.log(0.1) - 0.59 * math.log(0.9),
    ]
    assert float(cross_entropy(probabilities.log(), targets, 2, 0.1)) == pytest.approx(sum(smoothed) / 4, rel=1e-6)


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("mixing", [Mixing(cutmix=0), Mixing(mixup=0), None], ids=["mixup", "cutmix", "plain"])
def test_all_copies_of_an_image_have_its_label(copies, mixing):
    """At equal logits the gradient of a row is (1/K - target) / rows, so it shows what each row was compared with."""
    mixed = context(copies, mixing)
    logits = torch.zeros(copies * 6, 10, requires_grad=True)
    cross_entropy(logits, mixed.targets, copies, 0.1).backward()
    labels = (1 / 10 - logits.grad * len(logits)).view(copies, 6, 10)
    weight = 1.0 if mixing is None else weight_of(mixed)
    expected = torch.full((6, 10), 0.01)  # timm's: 0.1 / K off, 0.9 more on
    for image in range(6):
        expected[image, image] += 0.9 * weight
        expected[image, 5 - image] += 0.9 * (1 - weight)
    torch.testing.assert_close(labels, expected.expand(copies, 6, 10), atol=1e-6, rtol=0)


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("mixing", [Mixing(cutmix=0), Mixing(mixup=0)], ids=["mixup", "cutmix"])
def test_copy_c_is_mixed_with_copy_m_minus_1_minus_c_of_the_last_image(copies, mixing):
    mixed, plain = context(copies, mixing), context(copies, None).noisy().images
    clean = NoisyContext(Ten(), Gaussian(0.0), batch(), 1, mixing).noisy().images
    own = (clean - batch().images[5]).abs()[
        0, 0
    ] / 0.5  # share of image 0 in the pixels of image 0: its partner is 0.5 brighter
    assert float(own.mean()) == pytest.approx(weight_of(mixed), abs=1e-6)
    assert 0.01 < weight_of(mixed) < 0.99
    for copy, image in itertools.product(range(copies), range(6)):
        row, partner = copy * 6 + image, (copies - 1 - copy) * 6 + 5 - image
        expected = own * plain[row] + (1 - own) * plain[partner]
        torch.testing.assert_close(mixed.noisy().images[row], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_cutmix_of_copies_keeps_all_of_the_noise(copies):
    mixing = Mixing(mixup=0)
    clean = NoisyContext(Ten(), Gaussian(0.0), batch(size=64), copies, mixing).noisy().images
    noise = (context(copies, mixing, size=64).noisy().images - clean).view(copies, 6, -1)
    torch.testing.assert_close(noise.std(dim=2), torch.full((copies, 6), SIGMA), atol=0, rtol=0.03)
    similarity = noise.flatten(0, 1) @ noise.flatten(0, 1).T / noise[0, 0].square().sum()
    assert (similarity - torch.eye(copies * 6)).abs().max() < 0.05  # each row has noise of its own


def model(loss, **options):
    torch.manual_seed(0)
    classifier = Classifier(
        ViT(24, 1, 3, image_size=16, patch_size=8, pool="cls", drop_path=0.5),
        10,
        [0.5] * 3,
        [0.25] * 3,
        head="bn_linear",
    )
    return NoisyClassifier(classifier, Gaussian(SIGMA), loss, **options)


@pytest.mark.parametrize("after_noise", [True, False])
def test_losses_train_on_mixed_batches_and_evaluate_on_plain_ones(after_noise):
    for loss in (RS(label_smoothing=0.1), CR(label_smoothing=0.1)):
        mixing = Mixing(after_noise=after_noise)
        mixed, plain = model(loss, mixing=mixing), model(loss)
        assert mixed(batch())["loss_ce"] != plain(batch())["loss_ce"]
        mixed.eval(), plain.eval()
        plain.load_state_dict(mixed.state_dict())
        assert mixed.evaluate(batch()) == plain.evaluate(batch())


def test_probing_trains_the_head_alone_on_a_backbone_in_evaluation():
    probe = model(RS(), train_backbone=False).train()
    assert not any(module.training for module in probe.classifier.backbone.modules())
    assert probe.classifier.head[0].training
    assert [name for name, p in probe.named_parameters() if p.requires_grad] == [
        "classifier.head.1.weight",
        "classifier.head.1.bias",
    ]
    sum(probe(batch()).values()).backward()
    assert probe.classifier.backbone.cls_token.grad is None
    assert probe.classifier.head[1].weight.grad.abs().sum() > 0
    assert not probe.eval().classifier.head[0].training


class Attacks(ClassificationLoss):
    needs_hard_labels = True
    label_smoothing = 0.0

    def forward(self, context):
        return {}


def test_hard_labels_cannot_be_mixed_or_smoothed():
    with pytest.raises(ConfigError, match="Attacks needs hard labels, but mixing makes soft ones"):
        model(Attacks(), mixing=Mixing())
    loss = Attacks()
    loss.label_smoothing = 0.1
    with pytest.raises(ConfigError, match=r"label_smoothing=0\.1 makes soft ones"):
        model(loss)


@pytest.mark.parametrize("options", [{"mixup": -1}, {"mixup": 0, "cutmix": 0}])
def test_bad_parameters(options):
    with pytest.raises(ConfigError, match="mixing has"):
        Mixing(**options)
