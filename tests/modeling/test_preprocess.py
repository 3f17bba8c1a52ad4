import pytest
import torch
import torch.nn.functional as F

from dmaelab.modeling.preprocess import Preprocess
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]


def test_normalise_and_back():
    preprocess = Preprocess(MEAN, STD)
    images = Draw(0, "data").uniform((2, 3, 5, 7))
    normal = preprocess(images)
    for channel in range(3):
        torch.testing.assert_close(normal[:, channel], (images[:, channel] - MEAN[channel]) / STD[channel])
    torch.testing.assert_close(preprocess.denormalise(normal), images)


def test_statistics_are_saved_and_do_not_learn():
    preprocess = Preprocess(MEAN, STD)
    assert set(preprocess.state_dict()) == {"pixel_mean", "pixel_std"}
    assert not list(preprocess.parameters())
    other = Preprocess([0.0] * 3, [1.0] * 3)
    other.load_state_dict(preprocess.state_dict())
    images = Draw(0, "data").uniform((2, 3, 4, 4))
    assert torch.equal(other(images), preprocess(images))


def test_nothing_is_clamped():
    preprocess = Preprocess([0.0], [1.0])
    images = torch.tensor([-2.0, 3.0]).view(1, 1, 1, 2)
    assert torch.equal(preprocess(images), images)


def test_images_of_the_right_size_pass_unchanged():
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    assert Preprocess(MEAN, STD, input_size=8).resize(images) is images
    assert Preprocess(MEAN, STD).resize(images) is images


def test_resizing_is_bicubic_with_a_of_minus_three_quarters():
    """The weights of two rows of the 32 -> 224 enlargement of the reference."""
    resize = Preprocess([0.0], [1.0], input_size=224).resize
    matrix = resize(torch.eye(32).view(32, 1, 32, 1).expand(-1, -1, -1, 32))[:, 0, :, 0].T  # [224, 32]
    expected = torch.zeros(32)
    expected[14:18] = torch.tensor([-0.078717, 0.498542, 0.685131, -0.104956])
    torch.testing.assert_close(matrix[112], expected, atol=2e-6, rtol=0)  # six decimals, in float32
    edge = torch.zeros(32)
    edge[:2] = torch.tensor([1.104956, -0.104956])
    torch.testing.assert_close(matrix[0], edge, atol=1e-6, rtol=0)
    for row in (3, 10, 17):
        torch.testing.assert_close(matrix[row], F.one_hot(torch.tensor(row // 7), 32).float(), atol=1e-6, rtol=0)
    spread = (
        matrix.square().sum(dim=1).mean()
    )  # pixels of one row and column are independent: the mean over both is the square
    assert abs(spread - 0.863) < 2e-3


def test_resizing_is_linear_so_noise_keeps_its_dimension():
    preprocess = Preprocess(MEAN, STD, input_size=20)
    images, noise = Draw(0, "data").uniform((2, 3, 8, 8)), Draw(0, "train").normal((2, 3, 8, 8))
    torch.testing.assert_close(
        preprocess.resize(images + noise), preprocess.resize(images) + preprocess.resize(noise), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.5, 0.5]), ([0.5], [0.0]), ([0.5] * 3, [0.5, -1, 0.5])])
def test_bad_statistics(mean, std):
    with pytest.raises(ConfigError, match="need one number per channel, pixel_std > 0"):
        Preprocess(mean, std)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 8, 8), (2, 4, 8, 8)])
def test_images_of_another_number_of_channels(shape):
    with pytest.raises(ConfigError, match=r"takes images \[N,3,H,W\] .*, got \[") as error:
        Preprocess(MEAN, STD)(torch.zeros(shape))
    assert "\n" not in str(error.value)
