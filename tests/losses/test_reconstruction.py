import pytest
import torch

from dmaelab.losses import MSEAllPatches, MSEMaskedPatches
from dmaelab.modeling.patches import normalise_patches, patchify, random_masking
from dmaelab.utils.random import Draw


@pytest.fixture
def patches():
    """Prediction, target and a mask of 147 of 196 patches for two images of 224x224 pixels."""
    draw = Draw(0, "train")
    target = normalise_patches(patchify(draw.child("images").uniform((2, 3, 224, 224)), 16))
    pred = draw.child("pred").normal(target.shape)
    return pred, target, random_masking(draw.child("mask").uniform((2, 196)), 0.75).mask


@pytest.mark.parametrize("loss", [MSEAllPatches(), MSEMaskedPatches()])
def test_nothing_predicted_costs_the_variance(patches, loss):
    """Normalised patches have unit unbiased variance, so their mean square is (P-1)/P."""
    _, target, mask = patches
    assert abs(loss(torch.zeros_like(target), target, mask) - 767 / 768) < 1e-4


def test_all_patches_count_whatever_the_mask(patches):
    pred, target, mask = patches
    loss = MSEAllPatches()
    assert loss(pred, target, mask) == loss(pred, target, 1 - mask) == loss(pred, target, torch.zeros_like(mask))
    torch.testing.assert_close(loss(pred, target, mask), (pred - target).pow(2).mean())


def test_all_is_masked_and_visible_in_their_shares(patches):
    pred, target, mask = patches
    pred = pred * (1 + mask.unsqueeze(-1))  # a larger error where it is masked
    masked, visible = MSEMaskedPatches()(pred, target, mask), MSEMaskedPatches()(pred, target, 1 - mask)
    assert masked > 2 * visible
    torch.testing.assert_close(MSEAllPatches()(pred, target, mask), masked * 147 / 196 + visible * 49 / 196)


def test_masked_ignores_visible_patches(patches):
    pred, target, mask = patches
    other = pred + 100 * (1 - mask).unsqueeze(-1)
    torch.testing.assert_close(MSEMaskedPatches()(other, target, mask), MSEMaskedPatches()(pred, target, mask))
    assert MSEAllPatches()(other, target, mask) > 100 * MSEAllPatches()(pred, target, mask)
