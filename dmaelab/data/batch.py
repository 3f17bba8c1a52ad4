"""From what a loader yields to the batch that a module takes."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dmaelab.interfaces import Batch
from dmaelab.utils.random import Draw


class Samples(NamedTuple):
    """A micro-batch as a loader yields it, still in the data set's own type.

    It lies on the host, or on the device if the whole data set lies there.
    """

    images: Tensor  # [N,C,H,W], uint8, or floating in [0,1] if a transform made it so
    targets: Tensor  # int64 [N]
    index: Tensor  # type: ignore[assignment]  # int64 [N], places in the data set; hides tuple.index


def to_device(array: np.ndarray, device: torch.device | str) -> Tensor:
    """Return ``array`` as a tensor on ``device``; on a GPU the host does not wait for it."""
    tensor = torch.from_numpy(array)
    on_gpu = torch.device(device).type == "cuda"  # a copy from memory that is not pinned may wait for the stream
    return tensor.pin_memory().to(device, non_blocking=True) if on_gpu else tensor.to(device)


def to_float(images: Tensor) -> Tensor:
    """Return images as float32 in [0,1]: uint8 divided by 255, floating ones as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


def make_batch(samples: Samples, device: torch.device | str, draw: Draw, progress: float) -> Batch:
    """Return ``samples`` as a batch on ``device``, images as float32 in [0,1].

    A copy from pinned memory is asynchronous.
    """
    images, targets, index = (tensor.to(device, non_blocking=True) for tensor in samples)
    return Batch(to_float(images), targets, index, draw, progress)
