"""Evaluation: the mean over test images of the metrics that a model returns."""

import torch

from dmaelab.data import Dataset, build_test_loader, make_batch, select_indices
from dmaelab.engine.settings import TrainSettings
from dmaelab.interfaces import Trainable
from dmaelab.utils.distributed import all_reduce, rank, share_buffers, world_size
from dmaelab.utils.machine import machine_faults
from dmaelab.utils.precision import autocast
from dmaelab.utils.random import Draw


@machine_faults("lower train.eval_batch_size")
def evaluate(model: Trainable, dataset: Dataset, settings: TrainSettings, device: torch.device) -> dict[str, float]:
    """Return the mean over test images of each metric that ``model.evaluate(batch)`` returns.

    The images are ``settings.eval_images`` evenly spaced ones. Noise and masks of a batch come from (seed, "eval",
    index of its first image). They are the same at every evaluation, so that values can be compared along a run.
    With several processes each evaluates whole batches; the noise and the mean do not depend on their number.

    Args:
        model: evaluated in evaluation mode; its mode is restored afterwards.
        dataset: test images.
        settings: gives number of images, batch size, precision and seed.
        device: device of the model.

    Returns:
        Metric name -> mean over the images, the same on every process.

    Raises:
        MachineError: the machine failed, for example because memory is full.
    """
    subset = None if settings.eval_images is None else {"count": min(settings.eval_images, len(dataset))}
    indices = select_indices(len(dataset), subset)
    size = settings.eval_batch_size
    batches = [indices[begin : begin + size] for begin in range(0, len(indices), size)]
    if len(batches) >= world_size():  # with fewer batches than processes, every process evaluates all of them
        batches = batches[rank() :: world_size()]
    share = [index for batch in batches for index in batch]  # only the last batch of all may be smaller
    workers = min(settings.num_workers, len(batches)) if dataset.images is None else 0  # in memory: none are needed
    loader = build_test_loader(dataset, share, size, workers, settings.data_timeout)
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
