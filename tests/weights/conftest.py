"""Weights and outputs of the reference."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from weights_toolbox import CIFAR, TINY

from dmaelab.weights import load_pretrain, read_file


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Any]:
    """Read one file of the reference's weights and outputs."""

    def read(name: str) -> Any:
        content = torch.load(TINY / name, weights_only=True)
        return content.get("model", content)

    return read


@pytest.fixture(scope="session")
def released():
    """The tensors of the official autoencoder."""
    return read_file(TINY / "pretrain.pth")


@pytest.fixture
def alone(released):
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match="holds an encoder only; its decoder is new") as caught:
        model = load_pretrain(
            {"model": {name: value for name, value in released.items() if not name.startswith(("decoder_", "mask_"))}},
            num_heads=3,
            **CIFAR,
        )
    assert len(caught) == 1
    assert torch.equal(torch.get_rng_state(), before)
    return model
