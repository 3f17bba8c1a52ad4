import pytest
import torch
from torch import nn

from dmaelab.corruptions import Corruption, Gaussian, QuantisedGaussian
from dmaelab.smoothing import Smoothing
from dmaelab.smoothing.noise import Address
from dmaelab.smoothing.smoothing import check_image
from dmaelab.utils.errors import UserError


@pytest.fixture
def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def test_it_holds_what_follows_from_its_arguments(network):
    smoothing = Smoothing(network.train(), Gaussian(0.3), 3, seed=5)
    assert (smoothing.sigma, smoothing.geometry.norm, smoothing.seed) == (0.3, "l2", 5)
    assert smoothing.device == torch.device("cpu")
    assert None not in (smoothing.arithmetic.channels_last, smoothing.arithmetic.compile)
    assert not network.training


def test_a_case_claims_no_more_than_the_noise_as_drawn(network):
    """0.3 is more in float32, 0.7 is less: the noise is scaled in float32."""
    for sigma in (0.3, 0.7):
        image = torch.zeros(1, 4, 4, dtype=torch.float64)
        image, case = Smoothing(network, Gaussian(sigma), 3).admit(image, 1, Address(0, "certify", 2))
        assert image.dtype == torch.float32
        assert (case.num_classes, case.label) == (3, 1)
        drawn = float(torch.tensor(sigma))
        assert case.radius(0.9) == pytest.approx(1.2815515655446008 * min(sigma, drawn), rel=1e-12)
        assert case.random("v").random() == Address(0, "certify", 2).random("v").random()


def test_another_noise_brings_its_own_geometry(network):
    smoothing = Smoothing(network, Gaussian(0.25), 3)
    smoothing.corruption = QuantisedGaussian(0.5)
    assert (smoothing.sigma, smoothing.geometry) == (0.5, QuantisedGaussian.geometry)
    image, address = torch.zeros(1, 4, 4), Address(0, "certify", 0)
    own = Smoothing(network, QuantisedGaussian(0.5), 3)
    assert smoothing.admit(image, 0, address)[1].radius(0.9) == own.admit(image, 0, address)[1].radius(0.9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_classifier": lambda images: images}, "torch.nn.Module"),
        ({"num_classes": 1}, "num_classes is 1"),
        ({"corruption": Corruption(0.25)}, "no geometry"),
        ({"corruption": Gaussian((0.1, 0.2))}, "range"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"on_invalid": "cuont"}, r"on_invalid is 'cuont' .did you mean 'count'"),
    ],
)
def test_bad_arguments_are_one_line(network, changes, words):
    with pytest.raises(UserError, match=words) as caught:
        Smoothing(**({"base_classifier": network, "corruption": Gaussian(0.25), "num_classes": 3} | changes))
    assert "\n" not in str(caught.value)


def test_another_batch_size_is_another_object_with_the_same_module(network):
    smoothing = Smoothing(network, Gaussian(0.3), 3, seed=5, batch_size=32)
    other = smoothing.with_batch_size(8)
    assert (smoothing.batch_size, other.batch_size) == (32, 8)
    assert other.classifier is smoothing.classifier
    assert (other.seed, other.sigma) == (5, 0.3)
    with pytest.raises(UserError, match="batch_size is -1"):
        smoothing.with_batch_size(-1)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "divide by 255"),
        ([[0.0]], "list"),
        (torch.zeros(1, 3, 4, 4), "without a batch dimension"),
        (torch.full((3, 4, 4), 1.5), "values from 1.5 to 1.5"),
        (torch.full((3, 4, 4), -0.1), "normalisation belong inside"),
        (torch.full((3, 4, 4), float("nan")), "nan"),
    ],
)
def test_images_that_cannot_be_certified_are_named(image, words):
    with pytest.raises(UserError, match="image 7 ") as caught:
        check_image(image, "image 7")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_float_types_become_float32():
    assert check_image(torch.rand(3, 4, 4, dtype=torch.float64), "image 0").dtype == torch.float32


def test_an_image_is_checked_by_the_corruption_too(network):
    smoothing = Smoothing(network, QuantisedGaussian(0.25), 3)
    assert smoothing.check(torch.full((1, 4, 4), 51 / 255, dtype=torch.float64), "image 0").dtype == torch.float32
    with pytest.raises(UserError, match="8-bit images"):
        smoothing.check(torch.full((1, 4, 4), 0.1234), "image 0")
