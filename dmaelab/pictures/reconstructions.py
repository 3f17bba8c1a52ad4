"""The paper's Figure 2 as one PNG: original, noisy, noisy and masked, reconstruction."""

import os

import torch
from torch import Tensor

from dmaelab.data import Dataset, build_test_loader, select_indices, to_float
from dmaelab.modeling import DenoisingMAE
from dmaelab.utils.files import atomic_write
from dmaelab.utils.random import Draw

COLUMNS = ("original", "noisy", "noisy + masked", "reconstruction")
_GAP = 4  # pixels between pictures
_HEADER = 22  # pixels above the first row, for the names of the columns


@torch.no_grad()
def reconstruction_grid(
    model: DenoisingMAE, dataset: Dataset, path: str | os.PathLike, count: int = 8, seed: int = 0
) -> None:
    """Write a grid of ``count`` evenly spaced images of ``dataset``, two groups of the four columns beside each other.

    Hidden patches are grey. Small images are enlarged without smoothing, to at least 96 pixels. With
    ``norm_pix`` each predicted patch is shown with the clean patch's mean and variance put back.

    Args:
        model: in evaluation mode.
        dataset: whose images to show.
        path: of the PNG.
        count: how many images.
        seed: of noise and masks.
    """
    device = next(model.parameters()).device
    indices = select_indices(len(dataset), {"count": min(count, len(dataset))})
    (samples,) = build_test_loader(dataset, indices, len(indices))
    images = to_float(samples.images).to(device)
    draw = Draw(seed, "eval", "picture", device=device)
    noisy = images if model.corruption is None else model.corruption(images, draw.child("corruption")).images
    scores = draw.child("mask").uniform((len(images), model.encoder.grid**2))
    result = model.reconstruct(images, noise=noisy - images, mask_noise=scores)

    grid, size = model.encoder.grid, model.encoder.patch_size
    mask = result.mask.view(-1, 1, grid, grid).repeat_interleave(size, 2).repeat_interleave(size, 3)
    masked = torch.where(mask > 0, torch.full_like(result.noisy, 0.5), result.noisy)
    columns = torch.stack([model.preprocess.resize(images), result.noisy, masked, model.pixels(result)], dim=1)
    _write(columns.clamp(0, 1).cpu(), path)


def _write(columns: Tensor, path: str | os.PathLike) -> None:
    """Write pictures [N,4,C,S,S] in [0,1] as a PNG with the columns' names."""
    from PIL import Image, ImageDraw, ImageFont

    scale = max(1, -(-96 // columns.shape[-1]))
    cell = columns.shape[-1] * scale
    groups = 2 if len(columns) > 1 else 1
    rows = -(-len(columns) // groups)
    group_width = len(COLUMNS) * (cell + _GAP) + 2 * _GAP
    sheet = Image.new("RGB", (groups * group_width, _HEADER + rows * (cell + _GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for group in range(groups):
        for column, name in enumerate(COLUMNS):
            middle = group * group_width + _GAP + column * (cell + _GAP) + cell / 2
            pen.text((middle, _HEADER / 2), name, fill="black", font=font, anchor="mm")
    for number, pictures in enumerate(columns):
        row, group = divmod(number, groups)
        for column, picture in enumerate(pictures):
            pixels = (picture.expand(3, -1, -1) * 255).round().to(torch.uint8).permute(1, 2, 0)
            tile = Image.fromarray(pixels.numpy()).resize((cell, cell), Image.Resampling.NEAREST)
            sheet.paste(tile, (group * group_width + _GAP + column * (cell + _GAP), _HEADER + row * (cell + _GAP)))
    atomic_write(path, lambda file: sheet.save(file, format="PNG"))
