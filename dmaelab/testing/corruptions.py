"""Contract check of corruptions."""

import itertools

import torch
from torch import Tensor

from dmaelab.corruptions import CORRUPTIONS, Corruption
from dmaelab.stats.geometry import Geometry
from dmaelab.testing.expect import Expect, check_options
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw, DrawStack


def check_corruption(corruption: Corruption, device: torch.device | str = "cpu") -> None:
    """Check that a corruption keeps the contract of :class:`~dmaelab.corruptions.Corruption`.

    * Shape, dtype and device of the images stay, and the result is not clamped.
    * The noise depends only on the draw; noisy copies of an image differ, but share its sigma.
    * ``apply`` uses the sigma of each image, and gradients with respect to the images are finite and not zero.
    * It does not read values back to the host, and changes none of its inputs.
    * If it has a ``geometry``, the radius grows with p_lower, and ``needed`` is its inverse.

    Args:
        corruption: built with sigma > 0, or with a range of sigma; [0,1] pixel units.
        device: device of the check.

    Raises:
        AssertionError: the contract is broken; the text names the first problem.
    """
    expect = Expect(corruption)
    check_options(expect, corruption, CORRUPTIONS)
    expect(corruption.sigma != 0, "without noise there is nothing to check; build it with sigma > 0")
    images = (torch.arange(6 * 3 * 64, device=device) % 256 / 255).view(6, 3, 8, 8)
    _check_calls(expect, corruption, images)
    _check_apply(expect, corruption, images)
    if corruption.geometry is not None:
        _check_geometry(expect, corruption.geometry)


def _check_calls(expect: Expect, corruption: Corruption, images: Tensor) -> None:
    def corrupted(address: int, copies: int = 1):
        return corruption(images, Draw(0, "call", address, device=images.device), copies)

    with expect.isolation(images), expect.on_device():
        once, other, again, three = corrupted(0), corrupted(1), corrupted(0), corrupted(0, copies=3)
    low, high = corruption.sigma if isinstance(corruption.sigma, tuple) else (corruption.sigma, corruption.sigma)
    _check_kept(expect, once.images, images)
    expect(
        once.sigma.shape == (len(images),), f"sigma has the shape {list(once.sigma.shape)}; give one level per image"
    )
    expect(((once.sigma >= low - 1e-6) & (once.sigma <= high + 1e-6)).all(), f"there are levels outside {low}..{high}")
    expect(torch.equal(once.images, again.images), "one address gave two different noises; use nothing but the draw")
    expect(not torch.equal(once.images, other.images), "two addresses gave the same noise; take it from the draw")
    expect(torch.equal(three.images[:6], once.images), "copy 0 of three is not what one copy gives")
    expect(not torch.equal(three.images[:6], three.images[6:12]), "the copies of an image have the same noise")
    expect(torch.equal(three.sigma, once.sigma.repeat(3)), "the copies of an image do not share its sigma")


def _check_apply(expect: Expect, corruption: Corruption, images: Tensor) -> None:
    levels = torch.tensor([0.05, 0.5] * 3, device=images.device)

    def apply(inputs: Tensor) -> Tensor:
        return corruption.apply(inputs, levels[: len(inputs)], Draw(0, "call", "apply", device=images.device))

    leaf = images.clone().requires_grad_()
    with expect.isolation(images, levels, leaf), expect.on_device():
        change = (apply(images) - images).square().mean(dim=(1, 2, 3))
        repeated = apply(images[:1].expand(6, -1, -1, -1))  # how certification calls it
        grey = apply(images[:1, :1, :5])
        far = apply(images + 10)
        result = apply(leaf)
    _check_kept(expect, grey, images[:1, :1, :5])
    expect(change[1::2].min() > change[0::2].max(), "it does not use each image's sigma: 0.5 changes no more than 0.05")
    expect(not torch.equal(repeated[0], repeated[2]), "all images of a batch get the same noise")
    if corruption.stackable:
        _check_stack(expect, corruption, images, levels)
    expect(not (far <= 1).all(), "it clamps; noisy images stay unclamped")
    expect(
        result.requires_grad, "it cuts the gradient; be differentiable in images, or pass gradients straight through"
    )
    (gradient,) = torch.autograd.grad(result.sum(), leaf)
    expect(gradient.isfinite().all() and gradient.any(), "the gradient with respect to images is zero or not finite")


def _check_stack(expect: Expect, corruption: Corruption, images: Tensor, levels: Tensor) -> None:
    """Compare the noise of three draws at once, as certification makes it on a GPU, with that of draw by draw."""

    def draws() -> list[Draw]:
        return [Draw(0, "call", "stack", part, device=images.device) for part in range(3)]

    parts = [
        corruption.apply(images[row : row + 2], levels[row : row + 2], draw)
        for row, draw in zip((0, 2, 4), draws(), strict=True)
    ]
    try:
        stacked = corruption.apply(images, levels, DrawStack(draws(), images.shape))
    except (UserError, AttributeError) as error:  # arrays, or methods of a draw, that a stack does not have
        raise AssertionError(f"{expect.who}: it is not stackable: {error}") from error
    expect(
        torch.allclose(stacked, torch.cat(parts), atol=1e-5),
        "several draws at once give other noise than one by one; make each row on its own, or set stackable = False",
    )


def _check_kept(expect: Expect, result: Tensor, images: Tensor) -> None:
    before, after = (f"{t.dtype} {list(t.shape)} on {t.device}" for t in (images, result))
    expect(before == after, f"it turns {before} into {after}; shape, dtype and device must stay")


def _check_geometry(expect: Expect, geometry: Geometry) -> None:
    sigma, levels = 0.25, (0.55, 0.7, 0.9, 0.99)
    radii = [geometry.radius(sigma, p) for p in levels]
    expect(isinstance(geometry.norm, str), "its geometry names no norm")
    expect(all(0 < a < b for a, b in itertools.pairwise(radii)), "its radii do not grow with p_lower above 1/2")
    expect(geometry.radius(sigma, 0.45) < 0, "its radius for p_lower below 1/2 is not negative")
    for p, radius in zip(levels, radii, strict=True):
        expect(
            abs(geometry.radius(sigma, p, 1 - p) - radius) < 1e-9,
            "p_upper = 1 - p_lower gives another radius than None",
        )
        expect(geometry.radius(sigma, p, (1 - p) / 2) > radius, "a smaller p_upper gives no larger radius")
        expect(
            abs(geometry.needed(sigma, radius) - p) < 1e-9, "needed() of its geometry is not the inverse of radius()"
        )
    expect(0 <= geometry.tau(sigma, 3072) < 1, "tau of its geometry is not in [0, 1), as a total variation is")
