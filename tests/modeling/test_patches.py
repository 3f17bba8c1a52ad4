import torch

from dmaelab.modeling.patches import normalise_patches, patchify, random_masking, take, unpatchify
from dmaelab.utils.random import Draw


def test_layout_of_a_patch():
    """Entry (r*p + c)*C + ch of patch (i, j) is the pixel img[ch, p*i + r, p*j + c]."""
    size, grid, channels = 4, 3, 3
    images = torch.arange(2 * channels * 144.0).view(2, channels, 12, 12)
    patches = patchify(images, size)
    assert patches.shape == (2, 9, 48)
    for i in range(grid):
        for j in range(grid):
            for r in range(size):
                for c in range(size):
                    for ch in range(channels):
                        entry = patches[:, i * grid + j, (r * size + c) * channels + ch]
                        assert torch.equal(entry, images[:, ch, size * i + r, size * j + c])


def test_unpatchify_is_the_exact_inverse():
    for channels, size, side in [(3, 16, 224), (3, 4, 32), (1, 2, 8)]:
        images = Draw(0, "data").normal((2, channels, side, side))
        patches = patchify(images, size)
        assert torch.equal(unpatchify(patches, size, channels), images)
        assert torch.equal(patchify(unpatchify(patches, size, channels), size), patches)


def test_normalised_patches_have_unit_unbiased_variance():
    patches = Draw(0, "data").normal((2, 5, 48)) * 3 + 7
    normal = normalise_patches(patches)
    torch.testing.assert_close(normal.mean(dim=-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.square().sum(dim=-1) / 47, torch.ones(2, 5), atol=1e-5, rtol=0)


def test_normalised_patches_know_no_brightness_and_no_contrast():
    patches = Draw(0, "data").normal((2, 5, 48))
    scale, shift = Draw(1, "data").uniform((2, 5, 1)) * 4 + 1, Draw(2, "data").normal((2, 5, 1))
    torch.testing.assert_close(
        normalise_patches(patches * scale + shift), normalise_patches(patches), atol=1e-5, rtol=0
    )
    per_channel = patches * torch.tensor([1.0, 2.0, 3.0]).repeat(16)
    assert (normalise_patches(per_channel) - normalise_patches(patches)).abs().max() > 0.1


def test_flat_patches_are_zero_and_finite():
    assert torch.equal(normalise_patches(torch.full((1, 2, 12), 0.5)), torch.zeros(1, 2, 12))


def test_masking_keeps_the_smallest_scores():
    scores = Draw(0, "data").uniform((3, 196))
    kept, ids_restore, mask = random_masking(scores, 0.75)
    order = scores.argsort(dim=1)
    assert kept.shape == (3, 49)
    assert torch.equal(kept, order[:, :49])
    assert torch.equal(mask.sum(dim=1), torch.full((3,), 147.0))
    assert torch.equal(mask.gather(1, kept), torch.zeros(3, 49))
    assert torch.equal(mask.gather(1, order[:, 49:]), torch.ones(3, 147))
    assert mask.dtype == torch.float32
    assert torch.equal(order.gather(1, ids_restore), torch.arange(196).expand(3, -1))


def test_ids_restore_undoes_the_shuffle():
    tokens = Draw(0, "data").normal((3, 16, 5))
    kept, ids_restore, mask = random_masking(Draw(0, "train").uniform((3, 16)), 0.75)
    visible = take(tokens, kept)
    assert torch.equal(visible[1, 2], tokens[1, kept[1, 2]])
    padded = torch.cat([visible, torch.zeros(3, 12, 5)], dim=1)
    assert torch.equal(take(padded, ids_restore), tokens * (1 - mask).unsqueeze(-1))


def test_shares_and_ties():
    scores = torch.zeros(2, 16)
    assert [random_masking(scores, ratio).kept.shape[1] for ratio in (0.0, 0.5, 0.6, 0.9)] == [16, 8, 6, 1]
    assert torch.equal(random_masking(scores, 0.75).kept, torch.arange(4).expand(2, -1))


def test_masks_are_uniform_over_patches():
    scores = Draw(0, "train").uniform((4000, 16))
    share = random_masking(scores, 0.75).mask.mean(dim=0)
    assert (share - 0.75).abs().max() < 5 * (0.75 * 0.25 / 4000) ** 0.5
