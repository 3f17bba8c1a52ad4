import re
from pathlib import Path

import pytest
import torch
from torch import nn

from dmaelab.attacks.balls import Balls, project_l1, project_l2
from dmaelab.attacks.pgd import PGD
from dmaelab.corruptions import Corruption, build_corruption
from dmaelab.corruptions.quantised_gaussian import LEVELS
from dmaelab.smoothing import SmoothedClassifier
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.noise import AttackAddress
from dmaelab.smoothing.soundness import AttackedImage, AttackReport, Attempt, attack_certified
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


def attack(classifier, images, certificates, name="gaussian", **options):
    options = {"num_classes": 2, "attack": SHORT, "batch_size": 64} | options
    return attack_certified(classifier, images, certificates, build_corruption(name, sigma=SIGMA), **options)


def search(classifier, images, radii, name="gaussian", attack=SHORT, restart=1):
    places = [AttackAddress(0, "eval", index, restart) for index in range(len(images))]
    classes = torch.zeros(len(images), dtype=torch.int64)
    return attack.search(classifier, images, classes, radii, build_corruption(name, sigma=SIGMA), places, Arithmetic())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_halfspace_holds_inside_its_true_distance_and_falls_outside(halfspace, precision):
    classifier, images = halfspace
    true = [(0, distance) for distance in DISTANCES]
    inside = attack(classifier, images, true, scale=0.99, arithmetic=Arithmetic(precision))
    outside = attack(classifier, images, true, scale=1.1, arithmetic=Arithmetic(precision), n=5000)
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
    inside = attack(net, images, certificates)
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
    found, distances = search(ring[0], images, torch.full((12,), radius, dtype=torch.float64), name)
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
    found, distances = search(classifier, images, torch.full((6,), 0.4, dtype=torch.float64), "quantised_gaussian")
    for image in found:
        corruption.check(image)
    assert (distances > 0.3).all()
    normal = classifier.weight.detach() / classifier.weight.detach().norm()
    grey = [(LEVELS * (0.5 - 0.4 * normal)).round().view(1, 4, 4) / LEVELS]
    true = -float((grey[0].flatten() - 0.5) @ normal)
    assert attack(classifier, grey, [(0, true)], "quantised_gaussian", scale=0.99).count("changed") == 0
    assert attack(classifier, grey, [(0, true)], "quantised_gaussian", scale=1.2, n=5000).count("changed") == 1


def test_rounding_is_towards_the_original():
    images = torch.tensor([0.0, 10.0, 100.0, 255.0]).view(1, 1, 2, 2) / LEVELS
    balls = Balls(images, torch.tensor([9.0], dtype=torch.float64), build_corruption("quantised_gaussian", sigma=SIGMA))
    steps = torch.tensor([[2.99, -2.99, 7.0001, -0.5]], dtype=torch.float64)
    assert (LEVELS * balls.images(steps / LEVELS)).round().flatten().tolist() == [2, 8, 107, 255]


def test_projections():
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(5, 40, generator=generator, dtype=torch.float64)
    limits = torch.tensor([[1e-3], [1.0], [5.0], [30.0], [1e3]], dtype=torch.float64)
    l1, l2 = project_l1(offsets, limits), project_l2(offsets, limits)
    assert torch.allclose(l1.abs().sum(1), torch.minimum(limits.flatten(), offsets.abs().sum(1)))
    assert torch.allclose(l2.norm(dim=1), torch.minimum(limits.flatten(), offsets.norm(dim=1)))
    assert torch.equal(l1[4], offsets[4])
    assert torch.equal(l2[4], offsets[4])
    for _ in range(200):  # the nearest point makes no acute angle with any other of the ball
        other = torch.randn(5, 40, generator=generator, dtype=torch.float64)
        other = other / other.abs().sum(1, keepdim=True) * limits
        assert (((offsets - l1) * (other - l1)).sum(1) <= 1e-9).all()
    assert torch.equal(
        project_l1(torch.zeros(1, 3, dtype=torch.float64), limits[:1]), torch.zeros(1, 3, dtype=torch.float64)
    )


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


def test_restarts_begin_at_the_image_and_then_elsewhere():
    images = torch.full((2, 1, 4, 4), 0.5)
    balls = Balls(images, torch.tensor([0.2, 0.2], dtype=torch.float64), build_corruption("laplace", sigma=SIGMA))
    offsets = balls.start([AttackAddress(0, "eval", 0, 0), AttackAddress(0, "eval", 0, 1)])
    assert not offsets[0].any()
    assert 0 < offsets[1].abs().sum() < 0.2


def test_no_certification_uses_the_addresses_of_the_attack(halfspace, monkeypatch):
    classifier, images = halfspace
    purposes = set()
    digest = Draw._digest
    monkeypatch.setattr(Draw, "_digest", lambda draw: purposes.add(draw.key[1:3]) or digest(draw))
    attack(classifier, images, [(0, 0.1)] * 3)
    assert purposes == {("eval", "attack")}


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


def test_outcomes_and_the_worst_attempt():
    def made(*attempts):
        return AttackedImage(
            0, 4, 0.5, tuple(Attempt(torch.zeros(1, 1, 1), 0.4, answer, lead) for answer, lead in attempts)
        )

    assert (made((4, 90), (4, 80)).outcome, made((4, 90), (4, 80)).worst.lead) == ("held", 80)
    assert (made((-1, 3), (4, 80)).outcome, made((-1, 3), (4, 80)).worst.answer) == ("abstained", -1)
    assert (made((-1, -3), (2, -80), (3, -90)).outcome, made((2, -80), (3, -90)).worst.answer) == ("changed", 3)


@pytest.mark.parametrize(
    ("tried", "restarts", "alpha", "allowed"),
    [(1, 1, 1e-6, 0), (20, 2, 0.001, 2), (1000, 2, 0.001, 10), (5, 2, 0.5, 5), (20, 1, 1e-5, 0)],
)
def test_changes_that_alpha_allows(tried, restarts, alpha, allowed):
    report = AttackReport((), tried, restarts, alpha)
    assert report.allowed == allowed
    changed = AttackedImage(0, 0, 1.0, (Attempt(torch.zeros(1, 1, 1), 0.5, 1, -9),))
    assert AttackReport((changed,) * allowed, tried, restarts, alpha).sound
    assert not AttackReport((changed,) * (allowed + 1), tried, restarts, alpha).sound
    assert AttackReport((changed,) * (allowed + 1), tried, restarts, alpha, scale=1.5).sound


class SupNorm(Geometry):
    norm = "linf"


class Sup(Corruption):
    geometry = SupNorm()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corruption": Sup(0.25)}, "balls in linf: the attack knows l2 and l1"),
        ({"corruption": build_corruption("gaussian", sigma=(0.1, 0.2))}, "range"),
        ({"batch_size": 7}, "less than the 8 samples of a gradient"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"certificates": [(0, 0.1)]}, "3 images, 1 certificates"),
        ({"indices": [1, 1, 2]}, "2 different indices"),
        ({"certificates": [(5, 0.1)] * 3}, "certified as class 5, but num_classes is 2"),
        ({"certificates": [(-1, 0.0)] * 3}, "nothing to attack"),
        (
            {"certificates": [(2, 0.1)] * 3, "num_classes": 3},
            r"returns \[48, 2\] for 48 images, but a certificate names class 2",
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
    options = {"images": images, "certificates": [(0, 0.1)] * 3, "corruption": build_corruption("gaussian", sigma=0.25)}
    options |= {"num_classes": 2, "batch_size": 64, "attack": SHORT} | changes
    with pytest.raises(UserError, match=words) as caught:
        attack_certified(classifier, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["steps", "restarts", "samples"])
def test_an_attack_needs_at_least_one_of_each(name):
    with pytest.raises(UserError, match=f"{name} is 0"):
        PGD(**{name: 0})


@pytest.mark.slow
def test_the_example_of_any_module():
    pytest.importorskip("torchvision")
    (example,) = re.findall(
        r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/attack.md").read_text(), re.DOTALL
    )
    torch.manual_seed(0)
    names = {}
    exec(example.replace("10_000", "200").replace("steps=20", "steps=2"), names)
    assert names["report"].tried == 4
    assert names["report"].restarts == 2
