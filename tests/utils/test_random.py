import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from dmaelab.utils.random import PURPOSES, Draw

COUNT = 2**20
DTYPES = [torch.float32, torch.float64]


def draw(*key):
    return Draw(0, "train", *key)


def make(name, source):
    return {
        "bits": lambda: source.bits(50),
        "normal": lambda: source.normal((5, 10)),
        "uniform": lambda: source.uniform((5, 10)),
        "host": lambda: torch.from_numpy(source.host().random(50)),
        "seed": lambda: torch.tensor(source.seed() % 2**63),
    }[name]()


@pytest.fixture(scope="module")
def normals():
    return {dtype: draw("moments").normal((COUNT,), dtype).double().numpy() for dtype in DTYPES}


@pytest.mark.parametrize("name", ["bits", "normal", "uniform", "host", "seed"])
def test_same_address_same_numbers_whatever_came_before(name):
    first = make(name, draw(3, "noise"))
    torch.manual_seed(1)
    torch.rand(7)
    make("normal", draw(4))
    assert torch.equal(make(name, draw(3, "noise")), first)
    assert torch.equal(make(name, draw(3).child("noise")), first)
    assert not torch.equal(make(name, draw(3, "mask")), first)


@pytest.mark.parametrize("name", ["bits", "normal", "uniform", "host", "seed"])
def test_drawing_leaves_the_global_generators_alone(name):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global generator is the subject
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make(name, draw())
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_the_stream_is_pinned():
    """Another stream would make logs and resumed runs disagree with those of an earlier version."""
    assert draw(0).bits(3).tolist() == [6909466107020738868, -3185201187201232466, 7848936308016660375]
    torch.testing.assert_close(
        draw(0).normal((4,)), torch.tensor([-1.259354, -0.1228, -0.614833, -0.603344]), atol=1e-6, rtol=0
    )
    assert Draw(0, "init").seed() == 7093111949563302539


@pytest.mark.parametrize("first", ["bits", "normal", "uniform", "host", "seed"])
@pytest.mark.parametrize("second", ["normal", "host"])
def test_second_use_is_refused(first, second):
    source = draw("once")
    make(first, source)
    with pytest.raises(RuntimeError, match=r"Draw\(0, 'train', 'once'\) has been used"):
        make(second, source)


def test_children_of_a_used_draw_stay_usable():
    source = draw()
    source.normal((2,))
    assert torch.equal(source.child("a").bits(3), draw("a").bits(3))


def test_children_are_independent():
    numbers = torch.stack([draw().child("copy", c).normal((20_000,)) for c in range(4)])
    correlations = torch.corrcoef(numbers) - torch.eye(4)
    assert correlations.abs().max() < 5 / 20_000**0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, "1"), ("1", 1)),
        ((1,), ("1",)),
        ((12,), (1, 2)),
        (("ab",), ("a", "b")),
        (("a", ""), ("a",)),
        (("i1:1",), (1,)),
        ((-1,), (1,)),
    ],
)
def test_addresses_are_typed_and_prefix_free(one, other):
    assert draw(*one).seed() != draw(*other).seed()


def test_no_two_short_addresses_share_their_numbers():
    parts = [1, 11, -1, "1", "11", "", "s", "i1:1", "1:1s"]
    addresses = [key for length in range(4) for key in itertools.product(parts, repeat=length)]
    assert len({draw(*key).seed() for key in addresses}) == len(addresses) == 820


def test_seeds_differ_beyond_32_bits():
    words = {tuple(Draw(seed, "train").bits(4).tolist()) for seed in (1, 1 + 2**32, 1 + 2**64, 1 + 2**128)}
    assert len(words) == 4


def test_numpy_integers_are_integers():
    assert torch.equal(draw(np.int64(7)).bits(3), draw(7).bits(3))


def test_purposes_are_separate_and_known():
    assert len({Draw(0, purpose).seed() for purpose in PURPOSES}) == len(PURPOSES)
    for key in [(), (0,), (0, "testing"), ("train", 0)]:
        with pytest.raises(ValueError, match="the key of a draw is"):
            Draw(*key)


@pytest.mark.parametrize("part", [True, 0.5, None, (1,)])
def test_other_types_are_refused(part):
    with pytest.raises(TypeError, match="consists of integers and text"):
        draw(part).bits(1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_moments_and_distribution(normals, dtype):
    x = normals[dtype]
    assert abs(x.mean()) < 4 / COUNT**0.5
    assert abs(x.var() - 1) < 4 * (2 / COUNT) ** 0.5
    assert abs(stats.skew(x)) < 4 * (6 / COUNT) ** 0.5
    assert abs(stats.kurtosis(x)) < 4 * (24 / COUNT) ** 0.5
    assert stats.kstest(x, "norm").pvalue > 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [2, 3, 4, 4.5])
def test_normal_tails(normals, dtype, threshold):
    x = normals[dtype]
    for count, p in (
        ((x > threshold).sum(), stats.norm.sf(threshold)),
        ((x < -threshold).sum(), stats.norm.cdf(-threshold)),
    ):
        low, high = stats.binom.interval(1 - 1e-4, COUNT, p)
        assert low <= count <= high


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_two_numbers_of_a_pair_are_independent(normals, dtype):
    a, b = normals[dtype].reshape(2, -1)
    bound = 4 / len(a) ** 0.5
    assert abs(np.corrcoef(a, b)[0, 1]) < bound
    assert abs(np.corrcoef(a**2, b**2)[0, 1]) < bound


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, 40), (torch.float64, 53)])
@pytest.mark.parametrize("word", [0, -1, 2**63 - 1, -(2**63)])
def test_normal_is_finite_for_every_word(monkeypatch, dtype, bits, word):
    monkeypatch.setattr(Draw, "_words", lambda self, n: torch.full((1, n), word, dtype=torch.int64))
    x = draw().normal((2,), dtype)
    assert x.isfinite().all()
    assert x.norm() <= (2 * (bits + 1) * np.log(2)) ** 0.5 + 1e-6


def test_normal_reaches_seven_deviations(monkeypatch):
    """The smallest fraction of the radius is 2^-41, so its largest value is sqrt(2 * 41 * ln 2)."""
    monkeypatch.setattr(Draw, "_words", lambda self, n: torch.zeros(1, n, dtype=torch.int64))
    torch.testing.assert_close(draw().normal((2,)), torch.tensor([7.5388, 0.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_normal_shapes_and_types(shape, dtype):
    x = draw().normal(shape, dtype)
    assert x.shape == shape
    assert x.dtype == dtype


def test_double_precision_is_not_rounded_single():
    x = draw().normal((100,), torch.float64)
    assert (x != x.float().double()).all()


def test_uniform():
    x = draw("uniform").uniform((COUNT,))
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() < 1
    assert torch.equal(x * 2**24, (x * 2**24).round())
    assert stats.kstest(x.double().numpy(), "uniform").pvalue > 1e-3


def test_uniform_ends(monkeypatch):
    monkeypatch.setattr(Draw, "_words", lambda self, n: torch.tensor([[0, -1]]))
    assert draw().uniform((2,)).tolist() == [0.0, 1 - 2**-24]


def test_every_bit_of_a_word_is_fair():
    words = draw("fair").bits(2**16).numpy().view(np.uint64)
    ones = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).sum(axis=0)
    low, high = stats.binom.interval(1 - 1e-6, 2**16, 0.5)
    assert ((ones >= low) & (ones <= high)).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda():
    first = Draw(0, "train", 1, device="cuda").normal((COUNT,))
    assert first.device.type == "cuda"
    assert torch.equal(Draw(0, "train", device="cuda").child(1).normal((COUNT,)), first)
    assert stats.kstest(first.double().cpu().numpy(), "norm").pvalue > 1e-3
    words = Draw(0, "train", 2, device="cuda").bits(2**16)
    assert 0.49 < (words < 0).double().mean() < 0.51
