import numpy as np
import pytest
import torch

from dmaelab.config import LazyCall as L
from dmaelab.config import instantiate
from dmaelab.data import build_dataset, build_train_loader, transforms
from dmaelab.data.transforms import (
    HorizontalFlip,
    RandomCrop,
    random_horizontal_flip,
    random_resized_crop,
    single_draw_crop,
)
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
    matches = torch.stack(
        [(out == padded[:, :, top : top + 6, left : left + 5]).flatten(1).all(1) for top, left in shifts]
    )
    assert (matches.sum(0) == 1).all()
    assert matches.any(1).all()  # every shift occurs among 200 images
    assert torch.equal(RandomCrop(0)(images, np.random.default_rng(3)), images)


def test_floats_go_through_as_well(images):
    rng = np.random.default_rng
    small = images.float() / 255
    for augmentation in (HorizontalFlip(), RandomCrop(1)):
        assert torch.equal(augmentation(small, rng(2)), augmentation(images, rng(2)).float() / 255)


@pytest.mark.parametrize("crop", [random_resized_crop, single_draw_crop])
def test_a_crop_keeps_a_ramp_a_ramp(crop):
    ramp = torch.arange(0, 200, 4, dtype=torch.uint8).expand(3, 40, 50).contiguous()
    torch.manual_seed(0)
    boxes = [crop(16, scale=(0.2, 1.0))(ramp) for _ in range(20)]
    for box in boxes:
        assert box.shape == (3, 16, 16)
        assert box.dtype == torch.uint8
        assert (box[:, :, 1:].int() - box[:, :, :-1].int()).min() >= -2  # bicubic, no wild values
        assert (box[:, 1:] == box[:, :-1]).all()  # rows stay equal
    assert len({(int(box.min()), int(box.max())) for box in boxes}) > 5


def test_a_crop_does_not_see_how_the_pixels_lie_in_memory(images):
    image = images.view(3, 75, 80)
    interleaved = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for crop in (random_resized_crop(32), single_draw_crop(32)):
        for seed in range(5):
            torch.manual_seed(seed)
            expected = crop(image)
            torch.manual_seed(seed)
            assert torch.equal(crop(interleaved), expected)


@pytest.mark.parametrize("shape", [(3, 75, 80), (3, 20, 300), (1, 40, 30)])
def test_random_resized_crop_is_torchvisions(images, shape):
    from torchvision.transforms import v2

    image = images.flatten()[: shape[0] * shape[1] * shape[2]].view(shape)
    theirs = v2.RandomResizedCrop(32, (0.2, 1.0), interpolation=v2.InterpolationMode.BICUBIC)
    for seed in range(10):
        torch.manual_seed(seed)
        expected = theirs(image)
        torch.manual_seed(seed)
        assert torch.equal(random_resized_crop(32, (0.2, 1.0))(image), expected)


def boxes_of(monkeypatch, crop, height, width, count):
    """Return the boxes [count,4] (top, left, height, width) that a crop cuts from images of one size."""
    seen = []
    monkeypatch.setattr(transforms, "_resized", lambda image, size, *box: seen.append(box))
    torch.manual_seed(0)
    for _ in range(count):
        crop(torch.zeros(3, height, width, dtype=torch.uint8))
    return np.array(seen)


def test_single_draw_crop_draws_area_and_log_ratio_uniformly(monkeypatch):
    """A range that always fits: no side is cut."""
    top, left, height, width = boxes_of(monkeypatch, single_draw_crop(8, scale=(0.1, 0.5)), 1000, 1000, 3000).T
    area, log_ratio = height * width / 1e6, np.log(width / height)
    assert 0.099 < area.min() < 0.105 < 0.495 < area.max() < 0.501
    assert abs(area.mean() - 0.3) < 0.01  # 4 standard deviations of the mean: 0.0085
    assert abs(log_ratio.mean()) < 0.013
    assert 0.28 < np.abs(log_ratio).max() < 0.289  # log(4/3) = 0.2877
    for begin, side in ((top, height), (left, width)):
        share = begin / (1000 - side)
        assert abs(share.mean() - 0.5) < 0.022
        assert (share.min(), share.max()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))


def test_single_draw_crop_cuts_sides_that_are_too_long(monkeypatch):
    """Of a long image a large area never fits: where torchvision draws again, the height is the image's."""
    top, _, height, width = boxes_of(monkeypatch, single_draw_crop(8, scale=(0.9, 1.0)), 100, 400, 100).T
    assert (height == 100).all()
    assert (top == 0).all()
    assert 160 <= width.min() < width.max() <= 231  # sqrt(area * aspect): 173 to 231, a little less by the area


def test_single_draw_crop_of_a_single_pixel():
    assert (single_draw_crop(8)(torch.full((1, 1, 1), 7, dtype=torch.uint8)) == torch.full((1, 8, 8), 7)).all()


def test_a_flip_of_single_images():
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    assert torch.equal(random_horizontal_flip(1.0)(image), image.flip(-1))
    assert torch.equal(random_horizontal_flip(0.0)(image), image)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HorizontalFlip(1.5),
        lambda: RandomCrop(-1),
        lambda: random_horizontal_flip(2),
        lambda: random_resized_crop(0),
        lambda: random_resized_crop(8, scale=(0.5, 0.2)),
        lambda: single_draw_crop(8, scale=(0.0, 1.0)),
        lambda: single_draw_crop(8, ratio=(2, 1)),
    ],
)
def test_impossible_arguments(make):
    with pytest.raises(UserError):
        make()


def test_the_recipe_of_pre_training_as_a_config_writes_it():
    crop = instantiate(L(random_resized_crop)(size=16, scale=[0.2, 1.0]))
    loader = build_train_loader(
        build_dataset("generated", count=8), 8, seed=0, transform=[crop], augment=[HorizontalFlip()]
    )
    images = next(iter(loader)).images
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (8, 3, 16, 16))
