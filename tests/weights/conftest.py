"""Weights and outputs of the reference."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

REFERENCE = Path(__file__).parents[1] / "data" / "dmae_tiny"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Any]:
    """Read one file of the reference's weights and outputs."""

    def read(name: str) -> Any:
        content = torch.load(REFERENCE / name, weights_only=True)
        return content.get("model", content)

    return read
