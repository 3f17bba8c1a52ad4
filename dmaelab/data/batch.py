"""Convert the samples of a loader to the batch that a module takes."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dmaelab.interfaces import Batch
from dmaelab.utils.random import Draw


class Samples(NamedTuple):
    """A micro-batch as a loader yields it, before the conversion to float32.

    It is on the host, or on the device if the whole data set is kept there.
    """

    images: Tensor  # [N,C,H,W], uint8, or floating point in [0,1] if a transform returns this
    targets: Tensor  # int64 [N]
    index: Tensor  # type: ignore[assignment]  # int64 [N], indices in the data set; hides tuple.index


def to_device(array: np.ndarray, device: torch.device | str) -> Tensor:
    """Return ``array`` as a tensor on ``device``; for a GPU the copy is asynchronous."""
    tensor = torch.from_numpy(array)
    on_gpu = torch.device(device).type == "cuda"  # a copy from unpinned memory may block until the stream is done
    return tensor.pin_memory().to(device, non_blocking=True) if on_gpu else tensor.to(device)


def to_float(images: Tensor) -> Tensor:
    """Return images as float32 in [0,1]: uint8 images are divided by 255, floating-point ones only converted."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


def make_batch(samples: Samples, device: torch.device | str, draw: Draw, progress: float) -> Batch:
    """Return ``samples`` as a batch on ``device``, with images as float32 in [0,1].

    The copy is asynchronous if the samples are in pinned memory.
    """
    images, targets, index = (tensor.to(device, non_blocking=True) for tensor in samples)
    return Batch(to_float(images), targets, index, draw, progress)
