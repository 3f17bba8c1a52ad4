import random

import numpy as np
import probe_modules as sample
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dmaelab.certifiers import Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.modeling import BACKBONES, Classifier, build_backbone
from dmaelab.smoothing import SmoothedClassifier, Smoothing, certify_images
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.probe import CALLS, NEIGHBOURS, PLACE, RANDOM, SHARED, STATE, check_rows
from dmaelab.smoothing.soundness import attack_certified
from dmaelab.utils.errors import UserError

SHAPE = (3, 8, 8)


def verdict(module, precision="fp32", batch_size=64, own_randomness=False, shape=SHAPE, classes=3):
    """Return what the error says, or None."""
    smoothing = Smoothing(
        module, Gaussian(0.25), classes, arithmetic=Arithmetic(precision), batch_size=batch_size,
        own_randomness=own_randomness,
    )  # fmt: skip
    smoothing.classifier.eval()
    try:
        check_rows(smoothing, shape)
    except UserError as error:
        text = str(error)
    else:
        return None
    assert "\n" not in text
    return text


def no_statistics():
    return nn.BatchNorm2d(8, track_running_stats=False)


# Name -> (module, what is found, words of the message).
BAD = {
    "batch norm without statistics, first": (lambda: sample.convs(no_statistics()), NEIGHBOURS, "in '1' (BatchNorm2d)"),
    "batch norm without statistics, later": (
        lambda: sample.convs(nn.BatchNorm2d(8), no_statistics()), NEIGHBOURS, "in '4' (BatchNorm2d)"),
    "batch norm at the logits": (
        lambda: nn.Sequential(sample.convs(), nn.BatchNorm1d(3, track_running_stats=False)), NEIGHBOURS, "in '1'"),
    "F.batch_norm": (lambda: sample.On(sample.batch_norm), NEIGHBOURS, "in its own forward"),
    "batch norm of 4 rows each": (lambda: sample.On(sample.ghost_batch_norm), NEIGHBOURS, "own forward"),
    "batch norm left in training mode": (
        lambda: sample.convs(sample.StubbornNorm(8)), NEIGHBOURS, "in '1' (StubbornNorm, in training mode)"),
    "train() in forward": (lambda: sample.TrainsItself(), NEIGHBOURS, "'network.1' (BatchNorm2d, in training mode)"),
    "train() in forward, eval() after": (lambda: sample.TrainsItself(back=True), NEIGHBOURS, "network.1"),
    "train() without effect": (lambda: sample.Harmless(), STATE, "linear"),
    "mean of the batch": (lambda: sample.On(lambda rows: rows - rows.mean(0)), NEIGHBOURS, "own forward"),
    "mean of the logits": (lambda: sample.After(lambda rows: rows - rows.mean(0)), NEIGHBOURS, "own forward"),
    "mean of everything": (lambda: sample.On(lambda rows: rows / rows.std()), NEIGHBOURS, "own forward"),
    "largest of the batch": (lambda: sample.On(lambda rows: rows / rows.max()), NEIGHBOURS, "own forward"),
    "smallest of the batch": (lambda: sample.On(lambda rows: rows - rows.min()), NEIGHBOURS, "own forward"),
    "median of the batch": (lambda: sample.On(lambda rows: rows - rows.median(0)[0]), NEIGHBOURS, "own forward"),
    "the first row": (lambda: sample.On(lambda rows: rows - rows[:1]), NEIGHBOURS, "own forward"),
    "the last row": (lambda: sample.On(lambda rows: rows - rows[-1:]), NEIGHBOURS, "own forward"),
    "the row before": (lambda: sample.On(lambda rows: rows + 0.1 * rows.roll(1, 0)), NEIGHBOURS, "own forward"),
    "the row two before": (lambda: sample.On(lambda rows: rows + 0.1 * rows.roll(2, 0)), NEIGHBOURS, "own forward"),
    "the row 16 before": (lambda: sample.On(lambda rows: rows + 0.1 * rows.roll(16, 0)), NEIGHBOURS, "own forward"),
    "pairs": (lambda: sample.On(sample.pairs), NEIGHBOURS, "own forward"),
    "softmax over the batch": (lambda: sample.After(lambda rows: rows.softmax(0)), NEIGHBOURS, "own forward"),
    "ranks in the batch": (
        lambda: sample.After(lambda rows: rows.argsort(0).argsort(0).float()), NEIGHBOURS, "own forward"),
    "sorted": (lambda: sample.After(lambda rows: rows.sort(0).values), NEIGHBOURS, "own forward"),
    "reversed": (lambda: sample.After(lambda rows: rows.flip(0)), NEIGHBOURS, "own forward"),
    "permuted": (lambda: sample.After(
        lambda rows: rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))]), NEIGHBOURS, "own"),
    "nan spreads": (lambda: sample.After(
        lambda rows: torch.where((rows.abs().sum(1) > 4).any(), torch.nan, rows)), NEIGHBOURS, "own forward"),
    "attention between images": (lambda: sample.BatchAttention(batch_first=False), NEIGHBOURS, "MultiheadAttention"),
    "experts with a capacity": (lambda: sample.Experts(capacity=4), NEIGHBOURS, "own forward"),
    "8 bits, one scale": (lambda: sample.On(sample.by_tensor_scale), NEIGHBOURS, "own forward"),
    "place in the batch": (
        lambda: sample.After(lambda rows: rows + torch.arange(len(rows))[:, None] % 3), PLACE, "own forward"),
    "every other row": (
        lambda: sample.After(lambda rows: rows * (torch.arange(len(rows))[:, None] % 2)), PLACE, "own forward"),
    "one noise for all batches": (lambda: sample.OwnGenerator(fixed=True), PLACE, "own forward"),
    "answers of the first batch": (lambda: sample.FirstCall("logits"), CALLS, "own forward"),
    "mean of the first batch": (lambda: sample.FirstCall("mean"), CALLS, "own forward"),
    "initialised by the first batch": (lambda: sample.ActNorm(), CALLS, "own forward"),
    "counter in a buffer": (lambda: sample.Counter("buffer", used=True), CALLS, "own forward"),
    "counter in an attribute": (lambda: sample.Counter("attribute", used=True), CALLS, "own forward"),
    "counter in a list": (lambda: sample.Counter("list", used=True), CALLS, "own forward"),
    "counter in a buffer, unused": (lambda: sample.Counter("buffer", used=False), STATE, "of count"),
    "moving mean outside": (lambda: sample.MovingMean(), CALLS, "own forward"),
    "own generator": (lambda: sample.OwnGenerator(), CALLS, "own forward"),
    "new numpy generator": (lambda: sample.On(sample.fresh_numpy_noise), CALLS, "own forward"),
    "os.urandom": (lambda: sample.On(sample.system_noise), CALLS, "own forward"),
    "torch noise": (lambda: sample.On(sample.normal_like), RANDOM, "own forward"),
    "numpy noise": (lambda: sample.On(sample.numpy_noise), RANDOM, "own forward"),
    "random module": (lambda: sample.On(sample.python_noise), RANDOM, "own forward"),
    "shared mask": (lambda: sample.On(sample.shared_mask), RANDOM, "own forward"),
    "F.dropout": (lambda: sample.On(lambda rows: F.dropout(rows, training=True)), RANDOM, "own forward"),
    "dropout left in training mode": (lambda: nn.Sequential(sample.StubbornDropout(0.1), sample.convs()), RANDOM,
        "in '0' (StubbornDropout, in training mode)"),
    "RReLU in training mode": (
        lambda: sample.On(lambda rows: F.rrelu(rows, training=True)), RANDOM, "own forward"),
    "a batch of one size, mixed": (lambda: sample.Whole(64, around=True), NEIGHBOURS, "own forward"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_modules_that_are_refused(name):
    make, fault, words = BAD[name]
    found = verdict(make())
    assert found is not None
    assert f": {fault.what}" in found
    assert fault.advice in found
    assert words in found


@pytest.mark.parametrize("name", [name for name, (_, fault, _) in BAD.items() if fault in (NEIGHBOURS, CALLS, PLACE)])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_most_of_them_in_low_precision(name, precision):
    if name in ("8 bits, one scale", "moving mean outside") or ("row" in name.split() and "before" in name.split()):
        pytest.skip("the difference is within the rounding that this precision is allowed")
    assert verdict(BAD[name][0](), precision) is not None


GOOD = {
    "a linear layer": lambda: sample.On(lambda rows: rows),
    "batch norm": lambda: sample.convs(sample.trained(nn.BatchNorm2d(8)), sample.trained(nn.BatchNorm2d(8))),
    "batch norm, never trained": lambda: sample.convs(nn.BatchNorm2d(8)),
    "instance norm": lambda: sample.convs(nn.InstanceNorm2d(8, affine=True)),
    "group norm": lambda: sample.convs(nn.GroupNorm(4, 8)),
    "layer norm": lambda: sample.convs(nn.LayerNorm([8, 6, 6])),
    "local response norm": lambda: sample.convs(nn.LocalResponseNorm(3)),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5), sample.convs(nn.Dropout2d(0.5))),
    "attention in each image": lambda: sample.BatchAttention(batch_first=True),
    "early exit": lambda: sample.EarlyExit(),
    "experts": lambda: sample.Experts(),
    "ensemble": lambda: sample.Ensemble(),
    "weight norm": lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(192, 3))),
    "spectral norm": lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(192, 3))),
    "lazy cache": lambda: sample.Lazy(buffer=False),
    "lazy cache in a buffer": lambda: sample.Lazy(buffer=True),
    "lazy cache for one batch size": lambda: sample.Lazy(buffer=False, by_size=True),
    "buffer filled once": lambda: sample.FilledBuffer(),
    "counter in an attribute, unused": lambda: sample.Counter("attribute", used=False),
    "counter in a list, unused": lambda: sample.Counter("list", used=False),
    "8 bits, a scale for each row": lambda: sample.On(sample.by_row_scale),
    "refuses images without contrast": lambda: sample.On(sample.standardised),
    "signs": lambda: sample.On(torch.sign),
    "in place": lambda: sample.On(lambda rows: rows.sub_(0.5).div_(0.25)),
    "probabilities": lambda: sample.After(lambda rows: (30 * rows).softmax(1)),
    "one-hot answers": lambda: sample.After(lambda rows: F.one_hot(rows.argmax(1), 3).float()),
    "masked classes": lambda: sample.After(lambda rows: rows + torch.tensor([0.0, -1e9, -torch.inf])),
    "nan for some images": lambda: sample.After(lambda rows: torch.where(rows[:, :1] > 0, rows, torch.nan)),
    "always the same": lambda: sample.After(lambda rows: 0 * rows),
    "double precision": lambda: sample.On(lambda rows: rows.double()).double(),
    "a batch of one size": lambda: sample.Whole(64),
    "a multiple of a size": lambda: sample.Whole(16, multiple=True),
    "channels last": lambda: sample.convs(nn.GroupNorm(4, 8)).to(memory_format=torch.channels_last),
    "no parameters": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
}  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", GOOD)
def test_modules_that_pass(name, precision):
    if name == "double precision" and precision != "fp32":
        pytest.skip("autocast has no double precision")
    assert verdict(GOOD[name](), precision) is None


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_small_batches(rows):
    for name in ("lazy cache", "early exit", "group norm", "in place", "counter in a list, unused"):
        assert verdict(GOOD[name](), batch_size=rows) is None, name
    alone = {"mean of the logits", "the row before", "reversed", "sorted"}  # with one row there are no neighbours
    for name in alone:
        assert (verdict(BAD[name][0](), batch_size=rows) is None) == (rows == 1), name
    for name in ("torch noise", "own generator", "counter in an attribute"):
        assert verdict(BAD[name][0](), batch_size=rows), name


LARGE = ("vit_base", "vit_large", "vit_huge")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in BACKBONES.names()]
)
def test_our_backbones_pass(name, precision):
    torch.manual_seed(0)
    options = {"vit": {"width": 24, "depth": 2, "num_heads": 3}, "resnet_cifar": {"depth": 20, "width": 8}}
    sizes = {"image_size": 8, "patch_size": 4} if name.startswith("vit") else {}
    backbone = build_backbone(name, **options.get(name, {"depth": 1}), **sizes)
    assert verdict(Classifier(backbone, 10, [0.5] * 3, [0.25] * 3).train(), precision, classes=10) is None


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_networks_of_others_pass(precision):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v3_small(num_classes=10)
    assert verdict(network, precision, shape=(3, 32, 32), batch_size=8, classes=10) is None


RANDOM_MODULES = {name for name, (_, fault, _) in BAD.items() if fault is RANDOM}
RANDOM_MODULES -= {"shared mask", "RReLU in training mode"}


@pytest.mark.parametrize("name", sorted(RANDOM_MODULES))
def test_own_random_numbers_are_allowed_if_the_user_vouches_for_them(name):
    assert verdict(BAD[name][0](), own_randomness=True) is None


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: sample.On(sample.shared_mask), SHARED),
        (lambda: sample.On(lambda rows: rows * random.random()), SHARED),
        (lambda: sample.On(lambda rows: sample.normal_like(rows - rows.mean(0))), NEIGHBOURS),
        (lambda: sample.On(sample.as_many_as_bright), NEIGHBOURS),
        (BAD["RReLU in training mode"][0], NEIGHBOURS),  # it draws a number for each negative value only
        (lambda: sample.convs(no_statistics(), nn.Dropout(0.5)), NEIGHBOURS),
        (lambda: sample.OwnGenerator(), CALLS),
        (lambda: sample.On(sample.fresh_numpy_noise), CALLS),
        (lambda: sample.Counter("attribute", used=True), CALLS),
        (lambda: sample.Counter("buffer", used=False), STATE),
    ],
)
def test_vouching_for_random_numbers_allows_nothing_else(make, fault):
    assert f": {fault.what}" in verdict(make(), own_randomness=True)


@pytest.mark.parametrize("name", GOOD)
def test_vouching_for_random_numbers_refuses_nothing(name):
    assert verdict(GOOD[name](), own_randomness=True) is None


def everything(module):
    """What may change in a module and in the global generators, as comparable values."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return (
        [(name, value.tolist()) for name, value in module.state_dict().items()],
        [(name, part.training, sorted(vars(part)), sorted(part._buffers)) for name, part in module.named_modules()],
        [(part.number, list(part.calls), part.kept) for part in module.modules() if isinstance(part, Attributes)],
        torch.get_rng_state().tolist(), random.getstate(), numpy_state[1].tolist(), numpy_state[2:],
    )  # fmt: skip


class Attributes(sample.Counter):
    """Changes attributes of all kinds, and draws from all global generators."""

    def __init__(self):
        super().__init__("list", used=False)
        self.kept, self.norm = None, nn.BatchNorm1d(192)

    def extra(self, rows):
        self.kept, self.number, self.extra_attribute = rows, self.number + 1, 1
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(1))
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        return super().extra(rows)


class Spoiling(Attributes):
    """Changes buffers, modes and weights, too."""

    def extra(self, rows):
        self.norm.train()
        self.linear.weight.add_(1)
        self.linear.bias.data = self.linear.bias.data + 1
        return self.norm(super().extra(rows))


@pytest.mark.parametrize(("kind", "passes"), [(Attributes, True), (Spoiling, False)])
def test_everything_is_put_back(kind, passes):
    module = kind().eval()
    weight, bias, count = module.linear.weight, module.linear.bias, module.count
    before = everything(module)
    assert (verdict(module) is None) == passes
    assert everything(module) == before
    assert (weight, bias, count) == (module.linear.weight, module.linear.bias, module.count)


def test_everything_is_put_back_after_an_exception():
    class Failing(Spoiling):
        def extra(self, rows):
            super().extra(rows)
            raise RuntimeError("no luck")

    module = Failing().eval()
    before = everything(module)
    with pytest.raises(RuntimeError, match="no luck"):
        verdict(module)
    assert everything(module) == before


class Counting(nn.Module):
    """Counts forwards of all its copies, by their number of rows."""

    def __init__(self, inner, seen):
        super().__init__()
        self.inner, self.see = inner, seen.append

    def forward(self, images):
        self.see(len(images))
        return self.inner(images)


def test_a_module_is_probed_once_unless_something_but_its_weights_has_changed():
    seen = []
    module = Counting(sample.convs(nn.Dropout(0.5)), seen)
    smoothed = SmoothedClassifier(module, 3, 0.25)
    image = torch.rand(SHAPE)

    def probed(call):
        seen.clear()
        call()
        return seen.count(32)

    assert probed(lambda: smoothed.certify(image, 50, 100, 0.1, 50)) == 4
    assert probed(lambda: smoothed.certify(image, 50, 100, 0.1, 50)) == 0
    assert probed(lambda: smoothed.predict(image, 100, 0.1, 64)) == 0
    assert probed(lambda: SmoothedClassifier(module.train(), 3, 0.5, seed=3).predict(image, 100, 0.1, 64)) == 0
    with torch.no_grad():
        module.inner[0].weight.mul_(2)
    assert probed(lambda: smoothed.predict(image, 100, 0.1, 64)) == 0
    assert probed(lambda: SmoothedClassifier(module, 3, 0.25, precision="bf16").predict(image, 100, 0.1, 64)) == 4
    assert probed(lambda: smoothed.predict(torch.rand(3, 12, 12), 100, 0.1, 64)) == 4
    module.inner[1] = sample.StubbornDropout(0.5)
    with pytest.raises(UserError, match=r"it draws random numbers, in 'inner.1' .StubbornDropout"):
        smoothed.predict(image, 100, 0.1, 64)
    with pytest.raises(UserError, match="it draws random numbers"):  # a module that was refused is probed again
        smoothed.predict(image, 100, 0.1, 64)
    module.inner[1] = nn.Identity()
    assert smoothed.predict(image, 100, 0.1, 64) in (-1, 0, 1, 2)


def data(index):
    return torch.full(SHAPE, index / 4), 0


def ways(module, tmp_path):
    """All ways in which votes of a module are counted."""
    smoothing = Smoothing(module, Gaussian(0.25), 3, batch_size=64)
    smoothed = SmoothedClassifier(module, 3, 0.25)
    image = torch.full(SHAPE, 0.5)
    return {
        "log": lambda: certify_images(smoothing, data, range(3), Cohen(20, 100, 0.1), out=tmp_path, progress=False),
        "attack": lambda: attack_certified(smoothing, [image], [(0, 0.1)], alpha=0.1, n=100),
        "certify": lambda: smoothed.certify(image, 20, 100, 0.1, 64),
        "predict": lambda: smoothed.predict(image, 100, 0.1, 64),
    }


@pytest.mark.parametrize("way", ["log", "attack", "certify", "predict"])
def test_no_vote_is_counted_before_the_probe(way, tmp_path):
    seen = []
    with pytest.raises(UserError, match="with the other rows of its batch"):
        ways(Counting(sample.convs(no_statistics()), seen), tmp_path)[way]()
    assert set(seen) == {32}


def test_a_folder_in_which_the_probe_failed_can_be_used_after_the_repair(tmp_path):
    module = sample.convs(no_statistics())
    with pytest.raises(UserError, match="with the other rows"):
        ways(module, tmp_path)["log"]()
    module[1] = nn.BatchNorm2d(8)
    assert len(ways(module, tmp_path)["log"]()) == 3


def test_rows_are_those_without_the_probe(tmp_path, monkeypatch, comparable):
    for name in ("early exit", "lazy cache for one batch size", "batch norm", "ensemble"):
        with_probe = ways(GOOD[name](), tmp_path / f"{name} with")["log"]()
        with monkeypatch.context() as patch:
            patch.setattr("dmaelab.smoothing.votes.check_rows", lambda *_: None)
            without = ways(GOOD[name](), tmp_path / f"{name} without")["log"]()
        assert comparable(with_probe) == comparable(without)


def test_a_module_that_takes_one_batch_size_is_certified(tmp_path):
    assert len(ways(sample.Whole(64), tmp_path)["log"]()) == 3
    with pytest.raises(AssertionError, match="instead of 48"):  # the error that the certification would meet
        ways(sample.Whole(48), tmp_path / "48")["log"]()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_exported_module_of_one_batch_size(tmp_path):
    class Exported(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.program = torch.export.export(network.eval(), (torch.zeros(64, *SHAPE),))

        def forward(self, images):
            return self.program.module()(images)

    assert verdict(Exported(sample.convs(nn.BatchNorm2d(8)))) is None
    assert NEIGHBOURS.what in verdict(Exported(sample.convs(no_statistics())))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("script", ["script", "trace"])
def test_scripted_modules(script):
    def make(network):
        return torch.jit.script(network) if script == "script" else torch.jit.trace(network, torch.zeros(5, *SHAPE))

    assert verdict(make(sample.convs(nn.BatchNorm2d(8)).eval())) is None
    assert NEIGHBOURS.what in verdict(make(sample.convs(no_statistics()).eval()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_dynamic_quantisation_has_one_scale_for_the_batch():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 3))
    assert verdict(network) is None
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear})
    assert NEIGHBOURS.what in verdict(quantised)


class Block(nn.Sequential):
    """A block with a forward of its own: a layer of torch alone is not compiled by torch 2.8."""

    def forward(self, images):
        return super().forward(images)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_module_is_probed_as_it_was_written(whole):
    compilations = []

    def backend(graph, inputs):
        compilations.append([value.shape[0] for value in inputs if value.ndim == 4 and value.shape[1:] == SHAPE])
        return graph.forward

    for norm, refused in ((nn.GroupNorm(2, 8), False), (no_statistics(), True)):
        torch._dynamo.reset()
        network = nn.Sequential(Block(sample.convs(norm)))
        if whole:
            network = torch.compile(network, backend=backend)
        else:
            network[0].compile(backend=backend)
        assert (verdict(network) is not None) == refused
        assert compilations == []
    with torch.no_grad():
        network(torch.zeros(64, *SHAPE))
    assert compilations == [[64]]


def test_parameters_without_values_are_named():
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(UserError, match=r"parameters have no values yet .1.weight, 1.bias.: load its weights before"):
        check_rows(Smoothing(lazy, Gaussian(0.25), 3), SHAPE)


def test_the_identity_has_the_option_only_if_it_is_used(tmp_path):
    from dmaelab.records.folders import read_header

    module = sample.On(sample.normal_like)
    for own in (False, True):
        smoothing = Smoothing(module if own else sample.On(torch.sign), Gaussian(0.25), 3, own_randomness=own)
        certify_images(smoothing, data, range(2), Cohen(20, 100, 0.1), out=tmp_path / str(own), progress=False)
    assert read_header(tmp_path / "True")["identity"]["own_randomness"] is True
    assert "own_randomness" not in read_header(tmp_path / "False")["identity"]
