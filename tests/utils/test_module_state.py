"""What tests/smoothing/test_probe.py does not see: containers, tensors of other kinds, and who owns what."""

from collections import deque

import pytest
import torch
from torch import nn

from dmaelab.utils.module_state import ModuleState, buffers_of, identical


class Full(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.table, self.seen, self.names, self.last = {"a": 1}, [1, 2], {"x"}, deque([1], maxlen=2)
        self.plain = torch.arange(3.0)
        self.sparse = torch.eye(3).to_sparse()
        self.inner[0].bias.requires_grad_(False)


def spoil(module):
    module.table["b"], module.seen[0], module.inner[1].training = 2, 7, False
    module.names.clear()
    module.last.extend([2, 3])
    module.plain.add_(1)
    module.new = 1
    del module.inner[0].bias
    module.inner.append(nn.ReLU())
    with torch.no_grad():
        module.inner[0].weight.zero_()
        module.inner[1].running_mean = torch.full((3,), torch.nan)
        module.inner[1].running_var.fill_(torch.nan)


def test_everything_comes_back_into_the_same_objects():
    module = Full().train()
    owned = (module.table, module.seen, module.names, module.last, module.plain, module.inner[0].weight)
    keys, before = list(vars(module)), {name: value.clone() for name, value in module.state_dict().items()}
    state = ModuleState(module)
    for _ in range(2):  # it can be put back again
        spoil(module)
        state.restore()
        assert (module.table, module.seen, module.names, list(module.last)) == ({"a": 1}, [1, 2], {"x"}, [1])
        assert owned[:4] == (module.table, module.seen, module.names, module.last)
        assert all(
            one is other
            for one, other in zip(
                owned,
                (module.table, module.seen, module.names, module.last, module.plain, module.inner[0].weight),
                strict=True,
            )
        )
        assert module.plain.tolist() == [0, 1, 2]
        assert module.last.maxlen == 2
        assert list(vars(module)) == keys
        assert len(module.inner) == 2
        assert module.inner[1].training
        assert [(name, value.tolist()) for name, value in module.state_dict().items()] == [
            (name, value.tolist()) for name, value in before.items()
        ]
        assert module.inner[0].weight.requires_grad


def test_what_has_not_changed_is_not_written():
    module = Full()
    versions = [tensor._version for tensor in (*module.parameters(), *module.buffers())]
    ModuleState(module).restore()
    assert [tensor._version for tensor in (*module.parameters(), *module.buffers())] == versions


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.nan]), True),
        (torch.tensor([1.0, torch.nan]), torch.tensor([torch.nan, 1.0]), False),
        (torch.tensor([torch.inf]), torch.tensor([-torch.inf]), False),
        (torch.tensor([1]), torch.tensor([1]), True),
        (torch.tensor([True]), torch.tensor([False]), False),
        (torch.zeros(2), torch.zeros(1), False),
    ],
)
def test_identical_tensors(one, other, same):
    assert identical(one, other) is same


def test_buffers_are_copies():
    module = nn.BatchNorm1d(2)
    kept = buffers_of(module)
    module.running_mean.add_(1)
    assert kept["running_mean"].tolist() == [0, 0]
    assert sorted(kept) == ["num_batches_tracked", "running_mean", "running_var"]
