"""Freeze a network for a while, so that an attack can differentiate its input."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Yield ``network`` in evaluation mode, with parameters that get no gradient; restore both at the end."""
    modes = {module: module.training for module in network.modules()}
    required = {parameter: parameter.requires_grad for parameter in network.parameters()}
    try:
        network.eval()
        network.requires_grad_(False)
        yield network
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, requires_grad in required.items():
            parameter.requires_grad_(requires_grad)
