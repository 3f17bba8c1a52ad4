"""The contract checks pass for what is registered, and each of them can fail."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dmaelab import BACKBONES, CERTIFIERS, CORRUPTIONS, DATASETS, LOSSES
from dmaelab.certifiers import ABSTAIN, Case, Certificate, Certifier, Cohen, Votes
from dmaelab.certifiers.counts import select
from dmaelab.corruptions import Corruption, Gaussian
from dmaelab.data import Dataset
from dmaelab.losses import RS, MSEAllPatches
from dmaelab.modeling import CifarResNet, ViT
from dmaelab.stats.bounds import clopper_pearson_lower
from dmaelab.stats.geometry import GaussianL2
from dmaelab.testing import check_backbone, check_certifier, check_corruption, check_dataset, check_loss, drive
from dmaelab.utils.errors import UserError


def build_small(registry, name, **wanted):
    """Build an entry with those of the wanted arguments that it has."""
    accepted = inspect.signature(registry.get(name)).parameters
    return registry.build(name, **{key: value for key, value in wanted.items() if key in accepted})


# ---------------------------------------------------------------- every registered entry keeps its promises


@pytest.mark.parametrize("sigma", [0.25, (0.1, 0.5)], ids=["one sigma", "a range"])
@pytest.mark.parametrize("name", CORRUPTIONS.names())
def test_registered_corruptions(name, sigma):
    check_corruption(CORRUPTIONS.build(name, sigma=sigma))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", CORRUPTIONS.names())
def test_registered_corruptions_on_a_gpu(name):
    check_corruption(CORRUPTIONS.build(name, sigma=0.25), device="cuda")


@pytest.mark.parametrize("name", LOSSES.names())
def test_registered_losses(name):
    check_loss(LOSSES.build(name))


@pytest.mark.parametrize("name", CERTIFIERS.names())
def test_registered_certifiers(name):
    check_certifier(build_small(CERTIFIERS, name, n0=20, n=400, alpha=0.05, n_first=100))


@pytest.mark.parametrize("name", BACKBONES.names())
def test_registered_backbones(name):
    sizes = {"vit": {"width": 16, "num_heads": 2, "depth": 2}, "resnet_cifar": {"depth": 8}}.get(name, {"depth": 1})
    check_backbone(build_small(BACKBONES, name, image_size=8, patch_size=4, **sizes), (3, 8, 8))


@pytest.mark.parametrize("name", DATASETS.names())
def test_registered_datasets_that_need_no_files(name):
    try:
        dataset = DATASETS.build(name)
    except UserError as error:
        pytest.skip(f"no files: {error}")
    check_dataset(dataset)


# ---------------------------------------------------------------- and broken ones are told so


class Broken(Corruption):
    """Gaussian noise; the subclasses break one promise each."""

    geometry = GaussianL2()

    def noise(self, images, sigma, draw):
        return sigma.view(-1, 1, 1, 1) * draw.normal(images.shape)

    def apply(self, images, sigma, draw):
        return images + self.noise(images, sigma, draw)


class GlobalNoise(Broken):
    def noise(self, images, sigma, draw):
        return sigma.view(-1, 1, 1, 1) * torch.randn(images.shape)


class FixedNoise(Broken):
    def noise(self, images, sigma, draw):
        return sigma.view(-1, 1, 1, 1) * torch.linspace(-1, 1, images.numel()).view(images.shape)


class Remembers(Broken):
    def __init__(self, sigma):
        super().__init__(sigma)
        self.calls = 0

    def noise(self, images, sigma, draw):
        self.calls += 1
        return super().noise(images, sigma * self.calls, draw)


class Clamps(Broken):
    def apply(self, images, sigma, draw):
        return super().apply(images, sigma, draw).clamp(0, 1)


class Doubles(Broken):
    def apply(self, images, sigma, draw):
        return super().apply(images, sigma, draw).double()


class CutsGradient(Broken):
    def apply(self, images, sigma, draw):
        return super().apply(images.detach(), sigma, draw)


class RoundsGradientAway(Broken):
    def apply(self, images, sigma, draw):
        return (super().apply(images, sigma, draw) * 255).round() / 255


class WritesToImages(Broken):
    def apply(self, images, sigma, draw):
        with torch.no_grad():
            images += self.noise(images, sigma, draw)
        return images


class OwnSigma(Broken):
    def apply(self, images, sigma, draw):
        return images + self.sigma * draw.normal(images.shape)


class OneNoiseForAll(Broken):
    def noise(self, images, sigma, draw):
        return sigma.view(-1, 1, 1, 1) * draw.normal(images.shape[1:])


class ReadsBack(Broken):
    def apply(self, images, sigma, draw):
        return super().apply(images, sigma, draw) if sigma.max() > 0 else images


class CopiesAlike(Broken):
    def __call__(self, images, draw, copies=1):
        one = super().__call__(images, draw)
        return type(one)(one.images.repeat(copies, 1, 1, 1), one.sigma.repeat(copies))


class CopiesOfOtherSigma(Broken):
    def __call__(self, images, draw, copies=1):
        corrupted = super().__call__(images, draw, copies)
        rows = torch.arange(len(corrupted.sigma)) // len(images)
        return corrupted._replace(sigma=corrupted.sigma * (1 + rows))


class OnePatternStacked(Broken):
    """Moves one pattern from image to image: several draws at once would give another one."""

    stackable = True

    def noise(self, images, sigma, draw):
        pattern = draw.normal(images.shape[1:])
        return sigma.view(-1, 1, 1, 1) * torch.stack([pattern.roll(place) for place in range(len(images))])


class HostNoiseStacked(Broken):
    stackable = True

    def noise(self, images, sigma, draw):
        numbers = draw.host().standard_normal(images.shape, dtype="float32")
        return sigma.view(-1, 1, 1, 1) * torch.from_numpy(numbers)


class MixesRowsStacked(Broken):
    stackable = True

    def noise(self, images, sigma, draw):
        noise = super().noise(images, sigma, draw)
        return noise + 0.01 * noise.mean(0, keepdim=True)


class HidesOption(Broken):
    def __init__(self, sigma, strength=1.0):
        super().__init__(sigma)

    def options(self):
        return {"sigma": self.sigma}


class BoastfulGeometry(GaussianL2):
    def radius(self, sigma, p_lower, p_upper=None):
        return super().radius(sigma, p_lower, p_upper) + 0.1


class Boasts(Broken):
    geometry = BoastfulGeometry()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (GlobalNoise, "global random generator"),
        (FixedNoise, "two addresses gave the same noise"),
        (Remembers, "one address gave two different noises"),
        (Clamps, "it clamps"),
        (Doubles, "shape, dtype and device must stay"),
        (CutsGradient, "cuts the gradient"),
        (RoundsGradientAway, "gradient with respect to images is zero"),
        (WritesToImages, "changes what it is given"),
        (OwnSigma, "does not use each image's sigma"),
        (OneNoiseForAll, "all images of a batch get the same noise"),
        (ReadsBack, "reads values back to the host"),
        (CopiesAlike, "copies of an image have the same noise"),
        (CopiesOfOtherSigma, "do not share its sigma"),
        (OnePatternStacked, "it is not stackable: .*cannot give numbers of shape"),
        (HostNoiseStacked, "it is not stackable: .*'host'"),
        (MixesRowsStacked, "several draws at once give other noise"),
        (HidesOption, "its option strength is not recorded"),
        (Boasts, "radius for p_lower below 1/2 is not negative"),
    ],
)
def test_broken_corruptions(kind, complaint):
    check_corruption(Broken(0.25))
    with pytest.raises(AssertionError, match=f"^{kind.__name__}: .*{complaint}"):
        check_corruption(kind(0.25))


def test_a_corruption_without_noise_cannot_be_checked():
    with pytest.raises(AssertionError, match="sigma > 0"):
        check_corruption(Gaussian(0.0))


class OneSample(Certifier):
    """CERTIFY with parts to break."""

    estimation = "estimation"

    def __init__(self, n0=100, n=1000, alpha=0.001):
        self.n0 = n0
        super().__init__(n, alpha)

    def p_lower(self, count, n):
        return clopper_pearson_lower(count, n, self.alpha)

    def certify(self, case):
        top = select((yield Votes("selection", self.n0)))
        counts = yield Votes(self.estimation, self.n)
        return self.certificate(case, top, int(counts[top]))

    def certificate(self, case, top, count):
        p_lower = self.p_lower(count, self.n)
        radius = case.radius(p_lower)
        found = {"prediction": top, "radius": radius} if radius >= 0 else {"prediction": ABSTAIN}
        return Certificate(**found, top=top, n=self.n, n0=self.n0, p_lower=p_lower, count_a=count)


class NoBound(OneSample):
    def p_lower(self, count, n):
        return min(count / n, 0.999) - 1e-9


class SpendsMoreAlpha(OneSample):
    """Claims a bound at alpha and uses one at 2.5 alpha."""

    def p_lower(self, count, n):
        return clopper_pearson_lower(count, n, 2.5 * self.alpha)


class LooksForFree(OneSample):
    """Keeps the better of several bounds, each at the whole alpha."""

    def certify(self, case):
        top = select((yield Votes("selection", self.n0)))
        best, certificate = -1.0, None
        for total in range(self.n // 4, self.n + 1, self.n // 4):
            count = int((yield Votes("estimation", total))[top])
            bound = clopper_pearson_lower(count, total, self.alpha)
            if bound > best:
                best, certificate = bound, (count, total)
        radius = case.radius(best)
        found = {"prediction": top, "radius": radius} if radius >= 0 else {"prediction": ABSTAIN}
        return Certificate(**found, top=top, n=self.n, n0=self.n0, p_lower=best, look_a="{}/{}".format(*certificate))


class IgnoresTau(OneSample):
    def certificate(self, case, top, count):
        p_lower = self.p_lower(count, self.n)
        radius = GaussianL2().radius(0.25, p_lower)
        found = {"prediction": top, "radius": radius} if radius >= 0 else {"prediction": ABSTAIN}
        return Certificate(**found, top=top, n=self.n, n0=self.n0, p_lower=p_lower)


class Miscounts(OneSample):
    def certificate(self, case, top, count):
        return Certificate(prediction=ABSTAIN, top=top, n=self.n - 1, n0=self.n0)


class NeverAnswers(OneSample):
    def certificate(self, case, top, count):
        return Certificate(prediction=ABSTAIN, top=top, n=self.n, n0=self.n0)


class LessForMore(OneSample):
    def p_lower(self, count, n):
        return super().p_lower(count, n) if count < 0.9 * n else 0.6


class CountsDown(OneSample):
    def certify(self, case):
        yield Votes("estimation", self.n)
        yield Votes("estimation", self.n - 1)


class AsksForNumbers(OneSample):
    def certify(self, case):
        yield self.n


class ReturnsNothing(OneSample):
    def certify(self, case):
        yield Votes("estimation", self.n)


class AnswersWithAnything(OneSample):
    def certificate(self, case, top, count):
        broken = Certificate(prediction=2, radius=0.0, top=2, n=self.n, n0=self.n0)
        return broken if count == 0 else super().certificate(case, top, count)


class LeavesColumnOut(OneSample):
    columns = (*Certifier.columns, "alpha_look")


class RepeatsColumn(OneSample):
    columns = (*Certifier.columns, "radius")


class BelievesEverything(OneSample):
    def verify(self, row, case):
        return []


class Verifies(OneSample):
    """Verifies its rows, but for what is named in the option of a subclass."""

    columns = ("top", "radius_full", "p_lower", "count_a", "n", "n0", "samples", "look_a", "stop_reason")
    ignored = ()
    stop_reasons = ("n",)

    def certificate(self, case, top, count):
        look = f"{count}/{self.n}"
        return replace(super().certificate(case, top, count), look_a=look, stop_reason="n")

    def verify(self, row, case):
        expected = {"n": self.n, "n0": self.n0, "samples": self.n + self.n0, "look_a": f"{row['count_a']}/{self.n}"}
        wrong = [name for name, value in expected.items() if row[name] != value and name not in self.ignored]
        if not row["count_a"] <= self.n and "count_a" not in self.ignored:
            wrong.append("count_a")
        p_lower = self.p_lower(min(row["count_a"], self.n), self.n)
        missing = math.isnan(row["p_lower"]) and "p_lower" in self.ignored
        if not (row["p_lower"] <= p_lower or missing) or row["radius_full"] > max(case.radius(p_lower), 0):
            wrong.append("p_lower")
        if row["predict"] >= 0 and not case.radius(p_lower) >= 0:
            wrong.append("predict")
        return wrong


class IgnoresTheNumberOfSamples(Verifies):
    ignored = ("n", "samples", "look_a")


class IgnoresTheSelection(Verifies):
    ignored = ("n0",)


class IgnoresTheSum(Verifies):
    ignored = ("samples",)


class InventsVotes(Verifies):
    ignored = ("count_a", "look_a")


class NeedsNoBound(Verifies):
    ignored = ("p_lower",)


class StopsForAnyReason(Verifies):
    stop_reasons = ()


class CountsInFloats(Verifies):
    def certificate(self, case, top, count):
        return replace(super().certificate(case, top, count), count_a=float(count))


class RefusesItself(OneSample):
    def verify(self, row, case):
        return ["is not to its taste"]


class RollsDice(OneSample):
    rolls = np.random.default_rng(0)

    def p_lower(self, count, n):
        return super().p_lower(count, n) * self.rolls.uniform(0.9, 1)


class ChecksWithDice(OneSample):
    def check(self, case):
        case.random("dice")


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (ChecksWithDice, "its method check needs more than the noise: this case was made without random numbers"),
        (NoBound, "it was wrong for"),
        (SpendsMoreAlpha, "it was wrong for"),
        (LooksForFree, "it was wrong for"),
        (IgnoresTau, "which case.radius gives"),
        (Miscounts, r"it drew \{'selection': 20, 'estimation': 400\}"),
        (NeverAnswers, "unanimous"),
        (LessForMore, "radius shrinks"),
        (CountsDown, "totals only grow"),
        (AsksForNumbers, r"ask for votes with Votes\(stream, total\)"),
        (ReturnsNothing, "must return a Certificate"),
        (AnswersWithAnything, "predicts 2, which is not a class"),
        (LeavesColumnOut, "cannot be written: .*alpha_look"),
        (RepeatsColumn, "stands twice"),
        (RollsDice, "two different certificates"),
        (BelievesEverything, r"verify\(\) accepts .*, which claims more"),
        (IgnoresTheNumberOfSamples, r"verify\(\) accepts .* with \{'n': 401\}, which cannot be"),
        (IgnoresTheSelection, r"verify\(\) accepts .* with \{'n0': 21\}, which cannot be"),
        (IgnoresTheSum, r"verify\(\) accepts .* with \{'samples': 421\}, which cannot be"),
        (InventsVotes, r"verify\(\) accepts .* with \{'count_a': 401\}, which cannot be"),
        (NeedsNoBound, r"verify\(\) accepts .* with \{'p_lower': nan\}, which cannot be"),
        (StopsForAnyReason, r"verify\(\) accepts .* with \{'stop_reason': 'no such reason'\}, which cannot be"),
        (CountsInFloats, r"could not be verified: count_a is '200.0', not a whole number"),
        (RefusesItself, r"verify\(\) refuses a row of its own: is not to its taste"),
    ],
)
def test_broken_certifiers(kind, complaint):
    with pytest.raises(AssertionError, match=f"^{kind.__name__}: .*{complaint}"):
        check_certifier(kind(20, 400, 0.05))


def test_the_frame_of_the_broken_certifiers_is_sound():
    check_certifier(OneSample(20, 400, 0.05))
    check_certifier(Verifies(20, 400, 0.05))


def test_a_coin_flip_and_a_low_bar():
    class Coin(OneSample):
        def p_lower(self, count, n):
            return max(0.51, super().p_lower(count, n))

    with pytest.raises(AssertionError, match="coin flip"):
        check_certifier(Coin(20, 400, 0.05))


def test_drive_returns_the_certificate():
    certificate = drive(
        Cohen(10, 100, 0.05), Case(3, GaussianL2(), 0.5), lambda stream, total: np.array([0, total, 0, 0])
    )
    assert (certificate.prediction, certificate.count_a, certificate.look_a) == (1, 100, "100/100")


class Scaled(MSEAllPatches):
    """A loss of patches with parts to break."""

    def forward(self, pred, target, mask):
        return super().forward(pred, target, mask) * 2


class PerImage(Scaled):
    def forward(self, pred, target, mask):
        return (pred - target).float().square().mean(dim=(1, 2))


class LowPrecision(Scaled):
    def forward(self, pred, target, mask):
        return (pred - target.to(pred.dtype)).square().mean()


class NoGradient(Scaled):
    def forward(self, pred, target, mask):
        return super().forward(pred.detach(), target, mask)


class Upside(Scaled):
    def forward(self, pred, target, mask):
        return -super().forward(pred, target, mask)


class Indexes(Scaled):
    def forward(self, pred, target, mask):
        return (pred.float() - target)[mask == 1].square().mean()


class ItemRS(RS):
    def forward(self, context):
        return {"loss_ce": super().forward(context)["loss_ce"] * float(context.images.mean())}


class BareRS(RS):
    def forward(self, context):
        return super().forward(context)["loss_ce"]


class RandomRS(RS):
    def forward(self, context):
        return {"loss_ce": super().forward(context)["loss_ce"] * torch.rand(())}


class HalfRS(RS):
    def forward(self, context):
        return {"loss_ce": context.classifier(context.noisy(copies=1).images).square().mean().bfloat16()}


class LeavesEval(RS):
    def forward(self, context):
        context.classifier.eval()
        return super().forward(context)


class LeavesFrozen(RS):
    def forward(self, context):
        values = super().forward(context)
        context.classifier[1].weight.requires_grad_(False)
        return values


class BackwardRS(RS):
    def forward(self, context):
        super().forward(context)["loss_ce"].backward()
        return super().forward(context)


class CleanHeadless(RS):
    def forward(self, context):
        return {"loss_features": context.classifier[:2](context.images).float().square().mean()}


class NoCopies(RS):
    copies = 0


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (PerImage, "no scalar"),
        (LowPrecision, "bfloat16; compute it in float32"),
        (NoGradient, "has no gradient"),
        (Upside, "perfect reconstruction"),
        (Indexes, "reads values back"),
        (ItemRS, "reads values back"),
        (BareRS, "return a dict of named scalars"),
        (RandomRS, "global random generator"),
        (HalfRS, "bfloat16; compute it in float32"),
        (LeavesEval, "in evaluation mode"),
        (LeavesFrozen, "frozen"),
        (BackwardRS, r"writes \.grad"),
        (CleanHeadless, "gets no finite gradient"),
        (NoCopies, "copies is 0"),
    ],
)
def test_broken_losses(kind, complaint):
    with pytest.raises(AssertionError, match=f"^{kind.__name__}: .*{complaint}"):
        check_loss(kind())


def test_a_module_of_another_kind_is_no_loss():
    check_loss(Scaled())
    with pytest.raises(AssertionError, match=r"^Identity: it is neither"):
        check_loss(nn.Identity())


def vit(**changes):
    return ViT(**{"width": 16, "depth": 2, "num_heads": 2, "image_size": 8, "patch_size": 4, **changes})


class Unsized(ViT):
    """A ViT that adds up tokens of any image, and says that it needs a size."""

    def embed(self, images):
        return self.patch_embed(images[..., :8, :8]) + self.pos_embed[:, 1:]


class RandomInEvaluation(CifarResNet):
    def forward(self, images):
        return super().forward(images + torch.randn_like(images))


class LooksAround(CifarResNet):
    def forward(self, images):
        return super().forward(images - images.mean(dim=0))


class WrongWidth(CifarResNet):
    def __init__(self):
        super().__init__(8)
        self.num_features = 7


class UnusedLayer(CifarResNet):
    def __init__(self):
        super().__init__(8)
        self.unused = nn.Linear(3, 3)


class ForeignLayer(CifarResNet):
    def layers(self):
        return [*super().layers(), [nn.Parameter(torch.zeros(1))]]


class LayerTwice(CifarResNet):
    def layers(self):
        return super().layers() * 2


class LongTokens(ViT):
    def encode(self, tokens):
        return super().encode(torch.cat([tokens, tokens], dim=1))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (Unsized(16, 1, 2, 8, 4), "another size it gives features"),
        (RandomInEvaluation(8), "global random generator"),
        (LooksAround(8), "with the other rows of its batch"),
        (WrongWidth(), r"num_features\] = \[3, 7\]"),
        (UnusedLayer(), "no gradient reaches unused.weight, unused.bias"),
        (ForeignLayer(8), "not in the backbone"),
        (LayerTwice(8), "or one twice"),
        (LongTokens(16, 1, 2, 8, 4), r"encode\(\) of one token"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_broken_backbones(broken, complaint):
    with pytest.raises(AssertionError, match=f"^{type(broken).__name__}: .*{complaint}"):
        check_backbone(broken, (3, 8, 8))


def test_a_backbone_comes_back_as_it_was():
    backbone = vit(pool="cls", drop_path=0.5).train()
    check_backbone(backbone, (3, 8, 8))
    assert backbone.training
    assert all(parameter.grad is None for parameter in backbone.parameters())


class Squares(Dataset):
    """Six grey squares; the subclasses break one promise each."""

    def __init__(self, targets=(0, 1, 0, 1, 0, 1), classes=("dark", "bright"), images=None):
        super().__init__(
            targets, classes, torch.arange(6 * 16, dtype=torch.uint8).view(6, 1, 4, 4) if images is None else images
        )


class Shares(Squares):
    def load(self, index):
        return self.images[index], int(self.targets[index])


class Floats(Squares):
    def load(self, index):
        image, label = super().load(index)
        return image / 255, label


class TensorLabels(Squares):
    def load(self, index):
        return super().load(index)[0], self.targets[index]


class Relabelled(Squares):
    def __init__(self, targets):
        super().__init__()
        self.targets = torch.tensor(targets)


class OtherLabel(Squares):
    def load(self, index):
        image, label = super().load(index)
        return image, 1 - label if index == 5 else label


class Declares(Squares):
    def __init__(self, names="dark bright"):
        super().__init__(classes=names.split())

    @classmethod
    def classes_of(cls, arguments):
        return arguments["names"].split()


class DeclaresOthers(Declares):
    @classmethod
    def classes_of(cls, arguments):
        return ["bright", "dark"]


class OtherConstructor(Declares):
    """It inherits ``classes_of`` without the constructor to which it belongs."""

    def __init__(self, number=2):
        super().__init__(" ".join(map(str, range(number))))


class OtherShape(Squares):
    def load(self, index):
        image, label = super().load(index)
        return image[:, :2], label


class Wraps(Squares):
    def load(self, index):
        return super().load(index % 6)


class Jitters(Squares):
    def load(self, index):
        image, label = super().load(index)
        return image + torch.randint(0, 9, (1,), dtype=torch.uint8), label


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (Squares(targets=(), images=torch.zeros(0, 1, 4, 4, dtype=torch.uint8)), "it is empty"),
        (Relabelled([0, 1, 2, 0, 1, 2]), "targets outside its 2 classes"),
        (Relabelled([0, 1, -2, 0, 1, -1]), "targets outside its 2 classes"),
        (OtherLabel(), "comes with the label 0, which is not its target"),
        (Squares(classes=("same", "same")), "different names"),
        (Shares(), "when it is read again"),
        (Floats(), r"is torch.float32 \[1, 4, 4\], not uint8"),
        (TensorLabels(), "which is not its target"),
        (OtherShape(), r"has the shape \[1, 2, 4\]"),
        (Wraps(), "raise IndexError"),
        (Jitters(), "global random generator"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_broken_datasets(broken, complaint):
    check_dataset(Squares())
    with pytest.raises(AssertionError, match=f"^{type(broken).__name__}: .*{complaint}"):
        check_dataset(broken)


def test_data_sets_without_labels_keep_the_contract():
    check_dataset(Squares(targets=[-1] * 6, classes=()))
    check_dataset(Squares(targets=[-1, 0, 1, -1, 0, 1]))


@pytest.mark.parametrize(
    ("dataset", "arguments"),
    [
        (Squares(), {}),  # its classes are not known in advance
        (Declares(), {}),
        (Declares("a b c"), {"names": "a b c"}),
        (OtherConstructor(3), {"number": 3}),
    ],
)
def test_what_a_data_set_declares_are_its_classes(dataset, arguments):
    check_dataset(dataset, arguments)


@pytest.mark.parametrize(("dataset", "arguments"), [(DeclaresOthers(), {}), (Declares("a b"), {"names": "b a"})])
def test_other_classes_than_declared(dataset, arguments):
    with pytest.raises(AssertionError, match=r"classes_of returns \['b.*'\], but its classes are \['"):
        check_dataset(dataset, arguments)
