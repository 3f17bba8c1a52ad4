"""Evaluation: the mean of a model's own metrics over test images."""

import torch

from dmaelab.data import Dataset, build_test_loader, make_batch, select_indices
from dmaelab.engine.settings import TrainSettings
from dmaelab.interfaces import Trainable
from dmaelab.utils.distributed import all_reduce, rank, share_buffers, world_size
from dmaelab.utils.precision import autocast
from dmaelab.utils.random import Draw


def evaluate(model: Trainable, dataset: Dataset, settings: TrainSettings, device: torch.device) -> dict[str, float]:
    """Return the mean over the test images of what ``model.evaluate(batch)`` returns, exact over processes.

    Images are ``settings.eval_images`` evenly spaced ones; noise and masks come from (seed, "eval", first
    image of the batch), the same at every evaluation, so that values can be compared along a run. Processes
    share whole batches, so that their number changes no noise either.
    """
    subset = None if settings.eval_images is None else {"count": min(settings.eval_images, len(dataset))}
    indices = select_indices(len(dataset), subset)
    size = settings.eval_batch_size
    batches = [indices[begin : begin + size] for begin in range(0, len(indices), size)]
    if len(batches) >= world_size():  # otherwise everyone counts all of them
        batches = batches[rank() :: world_size()]
    share = [index for batch in batches for index in batch]  # only the last batch of all may be smaller
    loader = build_test_loader(dataset, share, size)
    share_buffers(model)
    training = model.training
    model.eval()
    sums: dict[str, torch.Tensor] = {}
    try:
        for samples in loader:
            draw = Draw(settings.seed, "eval", int(samples.index[0]), device=device)
            with autocast(settings.precision, device.type):
                metrics = model.evaluate(make_batch(samples, device, draw, progress=1.0))
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0) + value.double() * len(samples.images)
    finally:
        model.train(training)
    count = torch.tensor(float(len(share)), dtype=torch.float64, device=device)
    totals = all_reduce(torch.stack([count, *sums.values()]), "sum").tolist()
    return {name: total / totals[0] for name, total in zip(sums, totals[1:], strict=True)}
