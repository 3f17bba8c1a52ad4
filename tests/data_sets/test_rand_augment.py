"""timm's RandAugment as the recipe of the paper has it. Importing timm takes seconds."""

import random
import sys
from itertools import islice

import numpy as np
import pytest
import torch

from dmaelab.config import LazyCall as L
from dmaelab.config import instantiate
from dmaelab.data import build_dataset, build_train_loader
from dmaelab.data.transforms import rand_augment, random_horizontal_flip, random_resized_crop
from dmaelab.utils.errors import UserError


def recipe(size=224):
    """The fine-tuning recipe on ImageNet, as a config writes it."""
    return [L(random_resized_crop)(size=size), L(random_horizontal_flip)(), L(rand_augment)(image_size=size)]


@pytest.fixture
def augment():
    pytest.importorskip("timm")
    return rand_augment()


def inner(transform):
    """timm's own object."""
    return next(cell.cell_contents for cell in transform.__closure__ if hasattr(cell.cell_contents, "ops"))


def test_without_timm(monkeypatch):
    for name in ("timm", "timm.data", "timm.data.auto_augment"):  # other tests may have imported them
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"^rand_augment needs timm: pip install timm$"):
        rand_augment()


@pytest.mark.parametrize(
    "policy", ["", "rand-", "rand-foo", "rand-m9.5", "augmix-m3", "rand-m9-mstd", "original-mstd0.5"]
)
def test_a_policy_that_timm_would_pass_over(policy):
    with pytest.raises(UserError, match=f"^rand_augment: '{policy}' is not 'rand' with options"):
        rand_augment(policy)


@pytest.mark.slow
def test_the_recipe_has_two_of_fifteen_operations(augment):
    chosen = inner(augment)
    assert (len(chosen.ops), chosen.num_layers, chosen.choice_weights) == (15, 2, None)
    for op in chosen.ops:
        assert (op.prob, op.magnitude, op.magnitude_std, op.magnitude_max) == (0.5, 9, 0.5, None)
        assert op.kwargs == {"fillcolor": (124, 116, 104), "resample": 3}  # PIL's bicubic
        assert op.hparams["translate_const"] == 100
    names = {op.name for op in chosen.ops}
    assert {"PosterizeIncreasing", "SolarizeIncreasing", "TranslateXRel"} < names
    assert not any("Erasing" in name or "Cutout" in name or "Jitter" in name for name in names)


@pytest.mark.slow
def test_operations_are_applied_half_of_the_time_with_clipped_normal_magnitudes(augment):
    random.seed(0)
    op, magnitudes = inner(augment).ops[3], []
    op.aug_fn, op.level_fn = (
        (lambda image, **kwargs: image),
        (lambda magnitude, hparams: magnitudes.append(magnitude) or ()),
    )
    for _ in range(4000):
        op(None)
    assert 1870 < len(magnitudes) < 2130  # binomial(4000, 1/2), 4 standard deviations
    assert max(magnitudes) == 10  # N(9, 0.5) lies above 10 with probability 0.023
    assert 0.005 < np.mean(np.array(magnitudes) == 10) < 0.05
    assert abs(np.median(magnitudes) - 9) < 0.06
    assert 0.44 < np.std(magnitudes) < 0.54


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["rand-m9-mstd0.5-inc1", "rand-m9-mmax30-inc1", "rand-m9"])
def test_each_operation_takes_each_magnitude(policy):
    """Rare magnitudes are met in each epoch of ImageNet: Pillow 13 refuses to posterize to 0 bits, magnitude 10."""
    pytest.importorskip("timm")
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    transform = rand_augment(policy)
    chosen = inner(transform)
    operations, chosen.num_layers = chosen.ops, 1
    for operation in operations:
        operation.prob, operation.magnitude_std, chosen.ops = 1.0, 0, [operation]
        for magnitude in range(31 if "mmax30" in policy else 11):
            operation.magnitude = magnitude
            result = transform(image)
            assert (result.dtype, result.shape) == (torch.uint8, image.shape), (operation.name, magnitude)


@pytest.mark.slow
def test_posterize_keeps_the_highest_bits(augment):
    """Magnitude m keeps 4 - int(0.4 m) bits, and black remains of 0 bits."""
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).repeat(3, 1, 1)
    chosen = inner(augment)
    operation = next(op for op in chosen.ops if op.name == "PosterizeIncreasing")
    operation.prob, operation.magnitude_std, chosen.ops, chosen.num_layers = 1.0, 0, [operation], 1
    for magnitude, mask in ((0, 0b11110000), (5, 0b11000000), (9, 0b10000000), (10, 0)):
        operation.magnitude = magnitude
        assert torch.equal(augment(image), image & mask)


@pytest.mark.slow
def test_the_recipe_gives_uint8_and_neither_erases_nor_normalises(augment, tmp_path, save_image):
    for seed in range(6):
        save_image(tmp_path / "train" / f"class{seed % 2}" / f"{seed}.jpg", height=60 + seed, width=80, seed=seed)
    transform = instantiate(recipe())
    assert (len(transform), type(transform[1]).__name__, type(inner(transform[2])).__name__) == (
        3,
        "RandomHorizontalFlip",
        "RandAugment",
    )
    loader = build_train_loader(build_dataset("image_folder", root=str(tmp_path)), 6, seed=0, transform=transform)
    images = next(iter(loader)).images
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (6, 3, 224, 224))
    assert images.is_contiguous()


@pytest.mark.slow
def test_an_augmented_image_is_a_function_of_seed_epoch_and_index(augment):
    data, transform = build_dataset("generated", count=24, image_size=40), instantiate(recipe(32))

    def by_address(batch_size, epochs=2, workers=0, seed=0):
        loader = build_train_loader(data, batch_size, seed, num_workers=workers, transform=transform)
        batches = list(islice(loader, epochs * 24 // batch_size))
        return {
            (number * batch_size // 24, int(i)): image
            for number, batch in enumerate(batches)
            for i, image in zip(batch.index, batch.images, strict=True)
        }

    whole = by_address(24)
    for other in (by_address(4), by_address(8, workers=2)):
        assert all(torch.equal(whole[address], image) for address, image in other.items())
    assert sum(torch.equal(whole[0, i], whole[1, i]) for i in range(24)) <= 1
    assert (
        sum(torch.equal(whole[0, i], image) for (epoch, i), image in by_address(24, seed=1).items() if epoch == 0) <= 1
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 8, 8), torch.uint8), ((3, 8, 8), torch.float32), ((2, 3, 8, 8), torch.uint8)]
)
def test_other_images_are_refused(augment, shape, dtype):
    with pytest.raises(UserError, match=r"^rand_augment takes uint8 images \[3,H,W\], not torch\."):
        augment(torch.zeros(shape, dtype=dtype))
