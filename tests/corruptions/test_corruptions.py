"""The contract of corruptions, held by every registered one."""

import math

import pytest
import torch
from scipy import stats

from dmaelab.corruptions import CORRUPTIONS, Corruption, Gaussian, build_corruption
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

NAMES = CORRUPTIONS.names()


def address(*key):
    return Draw(0, "train", *key)


@pytest.fixture
def images():
    return (255 * address("images").uniform((4, 3, 8, 8))).round() / 255  # 8-bit: some noises certify no others


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_a_function_of_its_address(name, images):
    corruption = build_corruption(name, sigma=0.25)
    first = corruption(images, address(1))
    again = corruption(images, address(1))
    assert first.images.shape == images.shape
    assert first.images.dtype == torch.float32
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, corruption(images, address(2)).images)
    torch.testing.assert_close(first.sigma, torch.full((4,), 0.25))


@pytest.mark.parametrize("name", NAMES)
def test_input_is_not_changed(name, images):
    before = images.clone()
    build_corruption(name, sigma=0.25)(images, address())
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sigma", [0.25, (0.1, 0.5)])
def test_copies_are_single_draws_of_their_index(name, sigma, images):
    corruption = build_corruption(name, sigma=sigma)
    rows, levels = corruption(images, address(), copies=3)
    assert rows.shape == (12, 3, 8, 8)
    assert torch.equal(levels, levels[:4].repeat(3))
    for copy in range(3):
        alone = corruption.apply(images, levels[:4], address().child("copy", copy))
        assert torch.equal(rows[4 * copy : 4 * copy + 4], alone)
    one = corruption(images, address())
    assert torch.equal(one.images, rows[:4])
    assert torch.equal(one.sigma, levels[:4])
    assert not torch.equal(rows[:4], rows[4:8])


@pytest.mark.parametrize("name", NAMES)
def test_a_range_draws_one_level_per_image(name):
    images = torch.full((400, 1, 2, 2), 0.5)
    levels = build_corruption(name, sigma=(0.2, 0.6))(images, address("range")).sigma
    assert levels.shape == (400,)
    assert levels.min() >= 0.2
    assert levels.max() <= 0.6
    assert stats.kstest(levels.double().numpy(), "uniform", (0.2, 0.4)).pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_each_image_gets_its_own_level(name):
    corruption = build_corruption(name, sigma=0.1)
    images = torch.full((3, 3, 64, 64), 0.5)
    spread = (corruption.apply(images, torch.tensor([0.0, 0.1, 0.5]), address()) - images).flatten(1).std(dim=1)
    assert spread[0] == 0
    assert spread[1] < spread[2] / 2


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_images(name, images):
    images.requires_grad_()
    build_corruption(name, sigma=0.25)(images, address(), copies=2).images.sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_image_in_range_can_be_certified_with_a_known_geometry(name, images):
    corruption = build_corruption(name, sigma=0.25)
    corruption.check(images[0])
    if corruption.geometry is not None:
        assert corruption.geometry.radius(0.25, 0.9) > 0
        assert corruption.geometry.radius(0.25, 0.4) < 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "sigma", [-0.1, math.nan, math.inf, (0.5, 0.1), (-0.1, 0.2), (0.1, 0.2, 0.3), (), (0.1, math.nan)]
)
def test_bad_levels_are_one_clear_line(name, sigma):
    with pytest.raises(UserError, match=r"corruption\.sigma is .*: give one number >= 0 or an ascending pair") as error:
        build_corruption(name, sigma=sigma)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sigma", [[0.1, 0.5], (0.1, 0.5), (0, 1), 0, 0.0, [0.3]])
def test_levels_may_come_as_lists_and_integers(sigma):
    values = sigma if isinstance(sigma, (list, tuple)) else [sigma]
    expected = tuple(map(float, values)) if len(values) == 2 else float(values[0])
    assert Gaussian(sigma).sigma == expected


def test_a_corruption_must_define_apply(images):
    with pytest.raises(NotImplementedError, match="Nothing must define apply"):
        type("Nothing", (Corruption,), {})(0.1)(images, address())
