"""How well an autoencoder denoises: its mean squared error and those of trivial predictions."""

import torch
from torch import Tensor

from dmaelab.data import Batch, Dataset, build_test_loader, make_batch
from dmaelab.modeling import DenoisingMAE, PatchEncoder
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw


@torch.no_grad()
def denoising_report(
    model: DenoisingMAE, train_set: Dataset, test_set: Dataset, device: torch.device, seed: int = 0
) -> dict[str, float]:
    """Return mean squared errors to the clean images, in [0,1] pixel units, over all of ``test_set``.

    The model sees noisy images in which patches are hidden at its own mask ratio.

    Returns:
        ``reconstruction``: error of the model, over all pixels.
        ``noisy``: error of the noisy image, not clipped.
        ``mean_image``: error of the mean image of ``train_set``.
        ``visible``: error of the model, over the pixels of visible patches.
        ``visible_noisy_clipped``: error of the noisy image, clipped to [0,1], over the same pixels.

    Raises:
        UserError: the model predicts normalised patches, which have no pixel values, or it has no corruption.
    """
    if model.norm_pix:
        raise UserError("the run was trained with model.norm_pix=True: its predictions have no pixel values to compare")
    if model.corruption is None:
        raise UserError("the run was trained without noise: there is nothing to denoise")
    mean_image = _mean_image(model, train_set, device)
    sums: dict[str, Tensor] = {}
    count = 0
    for samples in build_test_loader(test_set, range(len(test_set)), batch_size=256):
        draw = Draw(seed, "eval", "denoising", int(samples.index[0]), device=device)
        batch = make_batch(samples, device, draw, progress=1.0)
        for name, value in _errors(model, batch, mean_image).items():
            sums[name] = sums.get(name, 0) + value.double() * len(samples.images)
        count += len(samples.images)
    return {name: float(total) / count for name, total in sums.items()}


def hidden_pixels(mask: Tensor, encoder: PatchEncoder) -> Tensor:
    """Return a mask of patches [N,L] as a mask of pixels [N,1,S,S]; both are float, 1 if hidden and 0 if visible."""
    grid, size = encoder.grid, encoder.patch_size
    return mask.view(-1, 1, grid, grid).repeat_interleave(size, 2).repeat_interleave(size, 3)


def _errors(model: DenoisingMAE, batch: Batch, mean_image: Tensor) -> dict[str, Tensor]:
    """Return the errors of :func:`denoising_report` for one batch, each a scalar."""
    result = model.reconstruct(batch.images, draw=batch.draw)
    clean = model.preprocess.resize(batch.images)
    visible = 1 - hidden_pixels(result.mask, model.encoder)
    share = visible.mean()
    error = (model.pixels(result) - clean).square()
    return {
        "reconstruction": error.mean(),
        "noisy": (result.noisy - clean).square().mean(),
        "mean_image": (mean_image - clean).square().mean(),
        "visible": (error * visible).mean() / share,
        "visible_noisy_clipped": ((result.noisy.clamp(0, 1) - clean).square() * visible).mean() / share,
    }


def _mean_image(model: DenoisingMAE, dataset: Dataset, device: torch.device) -> Tensor:
    """Return the mean image [C,S,S] of a data set at the size of the model's input, summed in float64."""
    total = torch.zeros((), dtype=torch.float64, device=device)
    for samples in build_test_loader(dataset, range(len(dataset)), batch_size=1024):
        images = make_batch(samples, device, Draw(0, "eval", device=device), progress=1.0).images
        total = total + model.preprocess.resize(images).double().sum(dim=0)
    return (total / len(dataset)).float()
