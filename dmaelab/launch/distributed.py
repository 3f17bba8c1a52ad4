"""The process group of a job, from its environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from dmaelab.utils.distributed import local_rank


@contextmanager
def process_group() -> Iterator[None]:
    """Join the group that torchrun describes (``RANK``, ``WORLD_SIZE``), or run alone; leave it at the end.

    Bare ``SLURM_*`` variables are ignored: inside an interactive allocation they describe the
    allocation, not this process.
    """
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    dist.init_process_group(backend, timeout=timedelta(minutes=30))
    try:
        yield
    finally:
        dist.destroy_process_group()
