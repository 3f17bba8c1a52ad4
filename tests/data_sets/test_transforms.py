import numpy as np
import pytest
import torch

from dmaelab.data.transforms import HorizontalFlip, RandomCrop, random_resized_crop
from dmaelab.utils.errors import UserError


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(1, 256, (200, 3, 6, 5), dtype=np.uint8))


def test_flip_mirrors_some_images(images):
    out = HorizontalFlip()(images, np.random.default_rng(1))
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130
    assert out.dtype == torch.uint8
    assert torch.equal(out, HorizontalFlip()(images, np.random.default_rng(1)))


@pytest.mark.parametrize(("p", "flipped"), [(0.0, False), (1.0, True)])
def test_flip_probabilities(images, p, flipped):
    out = HorizontalFlip(p)(images, np.random.default_rng(0))
    assert torch.equal(out, images.flip(-1) if flipped else images)


def test_crop_moves_each_image_within_the_padding(images):
    out = RandomCrop(2)(images, np.random.default_rng(3))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    shifts = [(top, left) for top in range(5) for left in range(5)]
    matches = torch.stack([(out == padded[:, :, top : top + 6, left : left + 5]).flatten(1).all(1) for top, left in shifts])
    assert (matches.sum(0) == 1).all()
    assert matches.any(1).all()  # every shift occurs among 200 images
    assert torch.equal(RandomCrop(0)(images, np.random.default_rng(3)), images)


def test_floats_go_through_as_well(images):
    rng = np.random.default_rng
    small = images.float() / 255
    for augmentation in (HorizontalFlip(), RandomCrop(1)):
        assert torch.equal(augmentation(small, rng(2)), augmentation(images, rng(2)).float() / 255)


def test_random_resized_crop_keeps_a_ramp_a_ramp():
    ramp = torch.arange(0, 200, 4, dtype=torch.uint8).expand(3, 40, 50).contiguous()
    torch.manual_seed(0)
    boxes = [random_resized_crop(16, scale=(0.2, 1.0))(ramp) for _ in range(20)]
    for box in boxes:
        assert box.shape == (3, 16, 16)
        assert box.dtype == torch.uint8
        assert (box[:, :, 1:].int() - box[:, :, :-1].int()).min() >= -2  # bicubic, no wild values
        assert (box[:, 1:] == box[:, :-1]).all()  # rows stay equal
    assert len({(int(box.min()), int(box.max())) for box in boxes}) > 5


@pytest.mark.parametrize("make", [lambda: HorizontalFlip(1.5), lambda: RandomCrop(-1)])
def test_impossible_arguments(make):
    with pytest.raises(UserError):
        make()
