"""Helpers for distributed runs which also work in a single process without a process group."""

import os
import re
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dmaelab.utils.errors import ConfigError, UserError

T = TypeVar("T")


def world_size() -> int:
    """Return the number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the rank of this process; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_main() -> bool:
    """Return whether this is the process (rank 0) that writes files and prints."""
    return rank() == 0


def all_reduce(tensor: Tensor, op: str) -> Tensor:
    """Reduce ``tensor`` in place over all processes with ``"sum"``, ``"min"`` or ``"max"``; return it."""
    if world_size() > 1:
        dist.all_reduce(tensor, getattr(dist.ReduceOp, op.upper()))
    return tensor


def share_buffers(module: nn.Module) -> None:
    """Copy the buffers of ``module`` (running statistics) from rank 0 to all processes: rank 0 saves them."""
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def with_synchronised_batch_norms(module: nn.Module) -> nn.Module:
    """Replace the batch norms in ``module`` by ones whose statistics in training are those of all processes.

    Parameters and buffers are the same objects under the same names. In evaluation nothing changes.

    Returns:
        ``module``, changed in place; or another module if it is a batch norm itself.

    Raises:
        ConfigError: a batch norm is of a class that is not torch's own. What that class adds would be lost.
    """
    own = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and type(part) not in own:
            raise ConfigError(
                f"train.sync_batchnorm: '{name}' is a {type(part).__name__}, which cannot be synchronised: set it to"
                " False"
            )
    return cast(nn.Module, nn.SyncBatchNorm.convert_sync_batchnorm(module))  # type: ignore[no-untyped-call]


def gather(value: T) -> list[T]:
    """Return the values of all processes, by rank; every process must call it. Values are small picklable objects."""
    if world_size() == 1:
        return [value]
    values: list[T | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return cast(list[T], values)


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


def named_device(name: str) -> torch.device:
    """Return the device of a name for :func:`pick_device`, which this machine need not have; raises ``UserError``."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"device is '{name}': choose 'auto', 'cpu', 'cuda' or 'cuda:N'")
    return torch.device(name)


def pick_device(name: str) -> torch.device:
    """Return the device of this process and make it torch's current CUDA device if it is one.

    Args:
        name: ``"cpu"``, ``"cuda"`` (the GPU of the local rank), ``"cuda:N"``, or ``"auto"``, which means ``"cuda"`` if
            torch finds a usable GPU and ``"cpu"`` otherwise.

    Raises:
        UserError: another name, or a CUDA device that does not exist.
    """
    device = named_device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device is '{name}' and this machine has no usable CUDA device: choose 'cpu', or 'auto'")
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f"device is '{name}' and this machine has {torch.cuda.device_count()} CUDA devices, counted from 0"
            )
        if device.index is None:
            device = torch.device("cuda", local_rank() % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


def local_rank() -> int:
    """Return the rank of this process on its machine, from ``$LOCAL_RANK`` as set by torchrun; 0 if it is not set."""
    return int(os.environ.get("LOCAL_RANK", "0"))
