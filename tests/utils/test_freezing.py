import pytest
import torch
from torch import nn

from dmaelab.utils.freezing import frozen


@pytest.fixture
def network():
    """A network in which one part is in evaluation mode, and one parameter is frozen."""
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    network[2].eval()
    network[0].bias.requires_grad_(False)
    return network


def state(network):
    return [m.training for m in network.modules()], [p.requires_grad for p in network.parameters()]


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_each_module_and_parameter_is_restored(network, error):
    before = state(network)
    assert len(set(before[0])) == len(set(before[1])) == 2
    try:
        with frozen(network) as inside:
            assert inside is network
            assert not any(state(network)[0] + state(network)[1])
            if error:
                raise error("an attack failed")
    except RuntimeError as caught:
        assert str(caught) == "an attack failed"  # noqa: PT017 - one test for both ends
    assert state(network) == before


def test_inputs_still_get_gradients(network):
    images = torch.ones(2, 4, requires_grad=True)
    with frozen(network):
        network(images).square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())
