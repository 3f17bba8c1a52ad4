from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dmaelab.corruptions import Corruption, Gaussian
from dmaelab.data import Batch
from dmaelab.modeling import NoisyContext
from dmaelab.utils.random import Draw


class Linear(nn.Module):
    """The smallest classifier: logits are linear in the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 5)
        with torch.no_grad():
            self.head.weight.copy_(Draw(0, "init", "weight").normal((5, 12)))
            self.head.bias.copy_(Draw(0, "init", "bias").normal((5,)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1))


@pytest.fixture
def context() -> Callable[..., NoisyContext]:
    """Make the context of a batch of 6 images of 3x2x2 pixels and 5 classes."""

    def make(
        copies: int = 1, corruption: Corruption | None = None, classifier: nn.Module | None = None, key: int = 0
    ) -> NoisyContext:
        images = Draw(0, "train", "images").uniform((6, 3, 2, 2))
        batch = Batch(images, torch.arange(6) % 5, torch.arange(6), Draw(key, "train", 0, 0), progress=0.5)
        return NoisyContext(classifier or Linear(), corruption or Gaussian(0.25), batch, copies)

    return make
