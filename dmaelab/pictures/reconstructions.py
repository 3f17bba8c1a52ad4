"""Reconstructions of a pre-training run as one PNG, like the paper's Figure 2, and their errors."""

import os
from pathlib import Path

import torch
from torch import Tensor

from dmaelab.data import Dataset, build_test_loader, select_indices, to_float
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.modeling import DenoisingMAE
from dmaelab.pictures.denoising import denoising_report, hidden_pixels
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import atomic_write, write_json
from dmaelab.utils.machine import machine_faults
from dmaelab.utils.random import Draw

COLUMNS = ("original", "noisy", "noisy + masked", "reconstruction")
_GAP = 4  # pixels between pictures
_HEADER = 22  # pixels above the first row, for the names of the columns


@machine_faults("free memory there, or set CUDA_VISIBLE_DEVICES= to draw on the CPU")
def draw_reconstructions(run: Path, picture: Path, weights: str = "final") -> list[str]:
    """Draw reconstructions of a pre-training run, and return lines with the path of the picture and the errors.

    The errors are also written to a JSON file beside the picture. A model without noise has no errors, and neither has
    one that predicts normalised patches.

    Args:
        run: run directory of the pre-training.
        picture: path of the PNG.
        weights: ``"final"``, ``"best"``, or a checkpoint file.

    Raises:
        UserError: the picture's name does not end in .png, or the run is not a pre-training run.
        MachineError: the machine failed, for example because memory is full.
    """
    if picture.suffix.lower() != ".png":
        raise UserError(f"{picture}: reconstructions are drawn as PNG: give a name that ends in .png")
    directory, device = RunDirectory(run), pick_device("auto")
    model = directory.model(weights, device)
    if not isinstance(model, DenoisingMAE):
        raise UserError(f"{run} trained a {type(model).__name__}, which cannot reconstruct: name a pre-training run")
    test_set = directory.dataset("test")
    reconstruction_grid(model, test_set, picture)
    lines = [f"reconstructions: {picture}"]
    if not model.norm_pix and model.corruption is not None:
        errors = denoising_report(model, directory.dataset("train"), test_set, device)
        write_json(picture.with_suffix(".json"), errors)
        lines += _error_lines(errors)
    return lines


def _error_lines(errors: dict[str, float]) -> list[str]:
    """Return the errors of :func:`denoising_report` as lines of text."""
    baseline = min(errors["noisy"], errors["mean_image"])
    return [
        f"  mean squared error on held-out images: {errors['reconstruction']:.4f} from noisy, masked input;"
        f" noisy image {errors['noisy']:.4f}, training-mean image {errors['mean_image']:.4f}"
        f" ({errors['reconstruction'] / baseline:.2f} times the better of these two)",
        f"  on visible patches {errors['visible']:.4f}; clipped noisy image {errors['visible_noisy_clipped']:.4f}",
    ]


@torch.no_grad()
def reconstruction_grid(
    model: DenoisingMAE, dataset: Dataset, path: str | os.PathLike, count: int = 8, seed: int = 0
) -> None:
    """Write a PNG with ``count`` evenly spaced images of ``dataset``.

    Each image has four pictures side by side (:data:`COLUMNS`), and each row shows two images. Hidden patches are grey.
    Small images are enlarged to at least 96 pixels, without smoothing. With ``norm_pix`` each predicted patch is shown
    with the mean and variance of the clean patch.

    Args:
        model: the autoencoder, in evaluation mode.
        dataset: the data set.
        path: path of the PNG.
        count: number of images.
        seed: seed of noise and masks.
    """
    device = next(model.parameters()).device
    indices = select_indices(len(dataset), {"count": min(count, len(dataset))})
    (samples,) = build_test_loader(dataset, indices, len(indices))
    images = to_float(samples.images).to(device)
    result = model.reconstruct(images, draw=Draw(seed, "eval", "picture", device=device))
    hidden = hidden_pixels(result.mask, model.encoder)
    masked = torch.where(hidden > 0, torch.full_like(result.noisy, 0.5), result.noisy)
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
