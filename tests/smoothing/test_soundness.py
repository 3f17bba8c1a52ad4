import re
from pathlib import Path

import pytest
import torch
from torch import nn

from dmaelab.attacks import PGD
from dmaelab.corruptions import Corruption, build_corruption
from dmaelab.corruptions.quantised_gaussian import LEVELS
from dmaelab.smoothing import SmoothedClassifier, Smoothing
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.soundness import attack_certified
from dmaelab.stats.geometry import Geometry
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

SIGMA = 0.25
DISTANCES = (0.3, 0.45, 0.6)
SHORT = PGD(steps=8, restarts=2, samples=8)


class Halfspace(nn.Module):
    """``w (x - 1/2) > 0``: its smoothed classifier is itself, at the distance ``|w (x - 1/2)| / |w|`` from the
    boundary.
    """

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        margin = (images.flatten(1) - 0.5) @ self.weight
        return torch.stack([-margin, margin], dim=1)


@pytest.fixture
def halfspace():
    """A halfspace in any direction, and images of class 0 at known l2 distances."""
    torch.manual_seed(0)
    weight = torch.randn(16)
    normal = weight / weight.norm()
    images = []
    for distance in DISTANCES:
        along = 0.1 * torch.randn(16)
        images.append((0.5 - distance * normal + along - along @ normal * normal).view(1, 4, 4))
    return Halfspace(weight), images


@pytest.fixture
def one_pixel():
    """A threshold on one value, and images of class 0 at known l1 distances."""
    weight = torch.zeros(16)
    weight[5] = 8.0
    images = [torch.full((1, 4, 4), 0.3) for _ in DISTANCES]
    for distance, image in zip(DISTANCES, images, strict=True):
        image.view(-1)[5] = 0.8 * (0.5 - distance) + 0.1
    return Halfspace(weight), images


def attack(classifier, images, certificates, name="gaussian", seed=0, precision="fp32", batch_size=64, **options):
    corruption, arithmetic = build_corruption(name, sigma=SIGMA), Arithmetic(precision)
    smoothing = Smoothing(classifier, corruption, 2, seed=seed, arithmetic=arithmetic, batch_size=batch_size)
    return attack_certified(smoothing, images, certificates, **({"attack": SHORT} | options))


def candidates(classifier, images, radius, name):
    """Return what the second attempt at each image finds, which begins at random, and how far away it is."""
    report = attack(classifier, images, [(0, radius)] * len(images), name)
    attempts = [image.attempts[1] for image in report.images]
    found = torch.stack([attempt.candidate for attempt in attempts])
    return found, torch.tensor([attempt.distance for attempt in attempts], dtype=torch.float64)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_halfspace_holds_inside_its_true_distance_and_falls_outside(halfspace, precision):
    classifier, images = halfspace
    true = [(0, distance) for distance in DISTANCES]
    inside = attack(classifier, images, true, scale=0.99, precision=precision)
    outside = attack(classifier, images, true, scale=1.1, precision=precision, n=5000)
    assert (inside.count("changed"), inside.sound) == (0, True)
    assert [image.outcome for image in outside.images] == ["changed"] * 3
    for distance, image in zip(DISTANCES, outside.images, strict=True):
        assert image.worst.answer == 1
        assert image.worst.lead < 0
        assert 1.09 * distance < image.worst.distance < 1.1 * distance == image.radius


@pytest.mark.parametrize("name", ["laplace", "uniform"])
def test_l1_balls_of_a_threshold_on_one_value(one_pixel, name):
    classifier, images = one_pixel
    true = [(0, 0.5 - float(image.view(-1)[5])) for image in images]
    inside, outside = (attack(classifier, images, true, name, scale=scale, n=5000) for scale in (0.95, 1.1))
    assert inside.count("changed") == 0
    assert outside.count("changed") == 3
    for image, found in zip(images, outside.images, strict=True):
        moved = (found.worst.candidate - image).abs().view(-1)
        assert found.worst.distance == pytest.approx(float(moved.double().sum()))
        assert moved[5] > 0.99 * moved.sum()  # all of it where it counts


@pytest.fixture(scope="module")
def ring():
    """A small net that tells images near the middle grey from others, and such images."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 2))
    images = torch.rand(512, 1, 4, 4)
    far = (images - 0.5).flatten(1).norm(dim=1)
    labels = (far > far.median()).long()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images + 0.1 * torch.randn_like(images)), labels).backward()
        optimizer.step()
    order = far.argsort()
    return net, [images[index] for index in (*order[:4], *order[-4:])]


def test_certificates_of_a_net_stand_inside_and_are_not_far_from_tight(ring):
    net, images = ring
    smoothed = SmoothedClassifier(net, 2, SIGMA)
    certificates = [smoothed.certify(image, 50, 2000, 0.001, 500, index=index) for index, image in enumerate(images)]
    certified = [certificate for certificate in certificates if certificate.prediction >= 0]
    assert len(certified) >= 4
    inside = attack_certified(smoothed.with_batch_size(64), images, certificates, attack=SHORT)
    assert len(inside.images) == len(certified)
    assert inside.count("changed") <= inside.allowed
    assert inside.sound
    assert attack(net, images, certificates, scale=4).count("changed") >= len(certified) // 2


@pytest.mark.parametrize("name", ["gaussian", "laplace", "uniform", "quantised_gaussian"])
@pytest.mark.parametrize("radius", [1e-6, 1e-3, 0.05, 0.7, 30.0])
def test_candidates_are_images_inside_the_open_ball(ring, name, radius):
    images = torch.rand(12, 1, 4, 4)
    images[:4] = images[:4].round()  # corners of the cube
    images = (LEVELS * images).round() / LEVELS
    found, distances = candidates(ring[0], images, radius, name)
    assert found.dtype == torch.float32
    assert 0 <= found.min() <= found.max() <= 1
    offsets = (found.double() - images).flatten(1)
    if name == "quantised_gaussian":
        offsets = (LEVELS * offsets).round() / LEVELS
    assert torch.allclose(
        distances, torch.linalg.vector_norm(offsets, ord=1 if name in ("laplace", "uniform") else 2, dim=1)
    )
    assert (distances < radius).all()
    if radius == 0.05 and name != "quantised_gaussian":
        assert (distances > 0.99 * radius).sum() >= 8  # and they use it


def test_quantised_candidates_are_8_bit_images_and_reach_far(halfspace):
    classifier, _ = halfspace
    corruption = build_corruption("quantised_gaussian", sigma=SIGMA)
    images = (LEVELS * torch.rand(6, 1, 4, 4)).round() / LEVELS
    found, distances = candidates(classifier, images, 0.4, "quantised_gaussian")
    for image in found:
        corruption.check(image)
    assert (distances > 0.3).all()
    normal = classifier.weight.detach() / classifier.weight.detach().norm()
    grey = [(LEVELS * (0.5 - 0.4 * normal)).round().view(1, 4, 4) / LEVELS]
    true = -float((grey[0].flatten() - 0.5) @ normal)
    assert attack(classifier, grey, [(0, true)], "quantised_gaussian", scale=0.99).count("changed") == 0
    assert attack(classifier, grey, [(0, true)], "quantised_gaussian", scale=1.2, n=5000).count("changed") == 1


def test_parameters_take_no_gradient_and_get_back_what_they_had(halfspace):
    inner, images = halfspace
    net = nn.Sequential(inner, nn.Dropout(0.5), nn.Linear(2, 2))
    net[2].bias.requires_grad_(False)
    before = [parameter.requires_grad for parameter in net.parameters()]
    state = torch.get_rng_state()
    attack(net.train(), images, [(0, 0.1)] * 3)
    assert [parameter.requires_grad for parameter in net.parameters()] == before
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module.training for module in net.modules())
    assert torch.equal(torch.get_rng_state(), state)

    class Failing(nn.Module):
        def forward(self, logits):
            raise RuntimeError("no")

    net.append(Failing())
    with pytest.raises(RuntimeError, match="no"):
        attack(net, images, [(0, 0.1)] * 3)
    assert [parameter.requires_grad for parameter in net.parameters()] == before


def test_certificates_that_claim_too_much_are_unsound(halfspace):
    classifier, images = halfspace
    report = attack(classifier, images, [(0, 2 * distance) for distance in DISTANCES])
    assert (report.count("changed"), report.sound) == (3, False)
    assert report.allowed < 3


def test_abstentions_and_empty_balls_are_never_attacked(halfspace):
    classifier, images = halfspace
    report = attack(classifier, images, [(-1, 0.0), (0, 0.2), (1, 0.0)], indices=[3, 5, 8])
    assert [image.index for image in report.images] == [5]
    assert report.tried == 3
    assert attack(classifier, images, [(-1, 0.0), (0, 0.2), (1, 0.0)], tried=40).tried == 40


def test_the_same_attack_again_whatever_shares_its_batch(halfspace):
    classifier, images = halfspace
    claims = [(0, distance) for distance in DISTANCES]
    first = attack(classifier, images, claims)
    again = attack(classifier, images, claims)
    alone = attack(classifier, images[1:2], claims[1:2], indices=[1], batch_size=17)
    other = attack(classifier, images, claims, seed=1)
    for a, b in zip(first.images, again.images, strict=True):
        assert all(
            torch.equal(x.candidate, y.candidate) and x[1:] == y[1:]
            for x, y in zip(a.attempts, b.attempts, strict=True)
        )
    for x, y in zip(first.images[1].attempts, alone.images[0].attempts, strict=True):
        assert torch.allclose(x.candidate, y.candidate, atol=1e-5)
    assert not torch.equal(first.images[0].attempts[1].candidate, other.images[0].attempts[1].candidate)


def test_the_first_attempt_begins_at_the_image_and_the_others_elsewhere(halfspace):
    """Seen in what the classifier gets: with noise of sigma 1e-6 a sample is the candidate."""
    _, images = halfspace
    seen = []

    class Watched(nn.Module):
        def forward(self, rows):
            seen.append(rows.detach())
            return torch.zeros(len(rows), 2)

    smoothing = Smoothing(Watched(), build_corruption("gaussian", sigma=1e-6), 2, batch_size=64)
    attack_certified(smoothing, images, [(0, 0.2)] * 3, attack=PGD(1, 2, 1))
    first, second = next(rows for rows in seen if len(rows) == 6).split(3)  # the others are the probe's and PREDICT's
    moved = (second - torch.stack(images)).flatten(1).norm(dim=1)
    assert torch.allclose(first, torch.stack(images), atol=1e-5)
    assert (moved > 1e-3).all()
    assert (moved < 0.2 + 1e-4).all()


def test_no_certification_uses_the_addresses_of_the_attack(halfspace, monkeypatch):
    classifier, images = halfspace
    purposes = set()
    digest = Draw._digest
    monkeypatch.setattr(Draw, "_digest", lambda draw: purposes.add(draw.key[1:3]) or digest(draw))
    attack(classifier, images, [(0, 0.1)] * 3)
    assert purposes == {("eval", "attack"), ("eval", "probe")}


def test_a_classifier_that_is_sure_or_has_no_gradient(halfspace):
    classifier, images = halfspace
    true = [(0, distance) for distance in DISTANCES]
    with torch.no_grad():
        classifier.weight *= 30  # softmax is exactly 0 or 1 in float32
    assert attack(classifier, images, true, scale=1.1, n=5000).count("changed") == 3
    with torch.no_grad():
        classifier.weight *= 1e4  # and in float64: what is left is luck
    assert attack(classifier, images, true).sound

    class Hard(nn.Module):
        def forward(self, images):
            return nn.functional.one_hot(classifier(images).argmax(1), 2).float()

    report = attack(Hard(), images, true)
    assert report.sound
    assert all(attempt.distance > 0.1 for image in report.images for attempt in image.attempts)


class SupNorm(Geometry):
    norm = "linf"


class Sup(Corruption):
    geometry = SupNorm()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corruption": Sup(0.25)}, "balls in linf: it knows l2 and l1"),
        ({"batch_size": 7}, "less than the 8 samples of a gradient"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"certificates": [(0, 0.1)]}, "3 images, 1 certificates"),
        ({"indices": [1, 1, 2]}, "2 different indices"),
        ({"certificates": [(5, 0.1)] * 3}, "certified as class 5, but num_classes is 2"),
        ({"certificates": [(-1, 0.0)] * 3}, "nothing to attack"),
        (
            {"certificates": [(2, 0.1)] * 3, "num_classes": 3},
            r"returns \[64, 2\] for 64 images, but num_classes=3 needs \[64, 3\]",
        ),
        ({"num_classes": 3}, "num_classes=3"),
        ({"images": [torch.full((1, 4, 4), 2.0)] * 3}, "values from 2 to 2"),
        (
            {"images": [torch.zeros(1, 4, 4), torch.zeros(1, 2, 2), torch.zeros(1, 4, 4)]},
            r"\[1, 2, 2\], not \[1, 4, 4\]",
        ),
        (
            {
                "images": [torch.full((1, 4, 4), 0.1234)] * 3,
                "corruption": build_corruption("quantised_gaussian", sigma=0.25),
            },
            "8-bit images",
        ),
        ({"n": 5}, "^n is 5: no vote of so few samples .*, give n >= 11$"),
    ],
)
def test_bad_input_is_one_line(halfspace, changes, words):
    classifier, images = halfspace
    own = {"corruption": build_corruption("gaussian", sigma=0.25), "num_classes": 2, "batch_size": 64}
    own |= {name: value for name, value in changes.items() if name in own}
    options = {"images": images, "certificates": [(0, 0.1)] * 3, "attack": SHORT}
    options |= {name: value for name, value in changes.items() if name not in own}
    smoothing = Smoothing(classifier, **own)
    with pytest.raises(UserError, match=words) as caught:
        attack_certified(smoothing, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_example_of_any_module():
    pytest.importorskip("torchvision")
    example, _ = re.findall(
        r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/attack.md").read_text(), re.DOTALL
    )
    torch.manual_seed(0)
    names = {}
    exec(example.replace("10_000", "200").replace("steps=20", "steps=2"), names)
    assert names["report"].tried == 4
    assert names["report"].restarts == 2
