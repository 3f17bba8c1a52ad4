"""What a process without a group is told; several processes are in tests/engine/test_distributed.py."""

import pytest
import torch

from dmaelab.utils import distributed
from dmaelab.utils.distributed import (
    all_reduce,
    barrier,
    is_main,
    local_rank,
    pick_device,
    rank,
    share_buffers,
    with_synchronised_batch_norms,
    world_size,
)
from dmaelab.utils.errors import ConfigError, UserError


def test_a_process_without_a_group_is_the_first_of_one():
    assert (world_size(), rank(), is_main()) == (1, 0, True)


def test_the_group_says_who_is_the_first(monkeypatch):
    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(distributed.dist, "get_rank", lambda: 2)
    assert (world_size(), rank(), is_main()) == (4, 2, False)


@pytest.mark.parametrize("op", ["sum", "min", "max"])
def test_nothing_is_reduced_alone(op):
    tensor = torch.tensor([1.0, -2.0])
    assert all_reduce(tensor, op) is tensor
    assert tensor.tolist() == [1.0, -2.0]


def test_nobody_is_waited_for_alone():
    module = torch.nn.BatchNorm1d(2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    barrier()
    share_buffers(module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_synchronised_batch_norm_has_the_same_state():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2, affine=False))
    before = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    rows = torch.rand(5, 3)
    expected = module(rows)
    assert with_synchronised_batch_norms(module) is module
    assert [type(part).__name__ for part in module] == ["Linear", "SyncBatchNorm", "SyncBatchNorm"]
    after = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    assert list(after) == list(before)
    assert all(after[name] is value for name, value in before.items())
    assert torch.equal(module(rows), expected)  # alone there is nobody to share with
    assert with_synchronised_batch_norms(module) is module  # twice is as once


def test_a_batch_norm_that_does_more_is_not_replaced():
    class NormAndAct(torch.nn.BatchNorm2d):
        def forward(self, images):
            return super().forward(images).relu()

    module = torch.nn.Sequential(torch.nn.BatchNorm2d(2), NormAndAct(2))
    with pytest.raises(ConfigError, match=r"train\.sync_batchnorm: '1' is a NormAndAct, which cannot be synchronised"):
        with_synchronised_batch_norms(module)
    assert type(module[0]) is torch.nn.BatchNorm2d


@pytest.fixture
def cuda(monkeypatch):
    """Return a function that gives this process so many CUDA devices; the list holds those that it has chosen."""
    chosen = []

    def devices(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        return chosen

    return devices


def test_without_cuda(cuda):
    cuda(0)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UserError, match=f"device is '{name}' and this machine has no usable CUDA device"):
            pick_device(name)


@pytest.mark.parametrize(
    ("name", "process", "number"), [("auto", 1, 1), ("cuda", 3, 1), ("cuda", 0, 0), ("cuda:0", 1, 0)]
)
def test_each_process_of_a_machine_takes_its_own_device(cuda, monkeypatch, name, process, number):
    chosen = cuda(2)
    monkeypatch.setenv("LOCAL_RANK", str(process))
    assert pick_device(name) == torch.device("cuda", number)
    assert chosen == [torch.device("cuda", number)]


def test_the_cpu_can_be_chosen_where_there_is_cuda(cuda):
    assert cuda(2) == []
    assert pick_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there(cuda):
    chosen = cuda(2)
    with pytest.raises(UserError, match="has 2 CUDA devices, counted from 0"):
        pick_device("cuda:2")
    assert chosen == []


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", "", "mps", "cuda:0,1"])
def test_what_names_no_device(name):
    with pytest.raises(UserError, match=f"device is '{name}': choose 'auto', 'cpu', 'cuda' or 'cuda:N'"):
        pick_device(name)


def test_the_number_on_the_machine_is_what_the_launcher_says(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_rank() == 0
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_rank() == 3
