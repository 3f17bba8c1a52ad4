"""What a loader yields and what a trainable module takes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dmaelab.utils.random import Draw


class Samples(NamedTuple):
    """A micro-batch on the host, as small as it travels best."""

    images: Tensor  # [N,C,H,W], uint8, or floating in [0,1] if a transform made it so
    targets: Tensor  # int64 [N]
    index: Tensor  # type: ignore[assignment]  # int64 [N], places in the data set; hides tuple.index


@dataclass(frozen=True)
class Batch:
    """A micro-batch on its device, with its random address: the argument of every trainable module."""

    images: Tensor  # float32 [N,C,H,W] in [0,1]
    targets: Tensor  # int64 [N]
    index: Tensor  # int64 [N]
    draw: Draw  # key (seed, "train", step, g)
    progress: float  # part of the training that is done, 0..1


def to_float(images: Tensor) -> Tensor:
    """Return images as float32 in [0,1]: uint8 divided by 255, floating ones as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


def make_batch(samples: Samples, device: torch.device | str, draw: Draw, progress: float) -> Batch:
    """Copy ``samples`` to ``device`` (asynchronously from pinned memory) and make floats of them there."""
    images, targets, index = (tensor.to(device, non_blocking=True) for tensor in samples)
    return Batch(to_float(images), targets, index, draw, progress)
