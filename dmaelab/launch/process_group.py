"""The process group of a distributed training, set up from environment variables."""

import gc
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module

import torch
import torch.distributed as dist

from dmaelab.utils.distributed import local_rank


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group that torchrun describes (``RANK``, ``WORLD_SIZE``), and leave it at the end of the block.

    If these variables are missing, or ``WORLD_SIZE`` is 1, the process runs alone. ``SLURM_*`` variables are ignored:
    inside an interactive allocation they describe the allocation, not this process.
    """
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"  # the device of the tensors chooses
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    # DDP imports this module. If that happened after init_process_group, its default arguments would keep a reference
    # to the group for ever.
    import_module("torch.distributed.nn")
    dist.init_process_group(backend, timeout=timedelta(minutes=30))
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # the frames hold references to the trainer
        raise
    finally:
        # A trainer and its hooks form a reference cycle that keeps process groups and their threads alive. If such a
        # thread frees a tensor while the interpreter shuts down, the process sometimes aborts. So collect them here.
        gc.collect()
        dist.destroy_process_group()
