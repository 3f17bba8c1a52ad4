from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dmaelab.data import Batch
from dmaelab.utils.random import Draw

REFERENCE = Path(__file__).parents[1] / "data" / "dmae_tiny"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Any]:
    """Read one file of the reference's weights and outputs."""

    def read(name: str) -> Any:
        content = torch.load(REFERENCE / name, weights_only=True)
        return content.get("model", content)

    return read


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """Make a batch of images of 3x8x8 pixels."""

    def make(count: int = 6, key: int = 0, progress: float = 0.5) -> Batch:
        images = Draw(0, "data").uniform((count, 3, 8, 8))
        return Batch(images, torch.arange(count) % 4, torch.arange(count), Draw(key, "train", 0, 0), progress)

    return make
