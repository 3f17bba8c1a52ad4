"""The process group of a training, from the environment of its processes."""

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
    # DDP would import this module later. Its default arguments keep the group of the moment of import for ever.
    import_module("torch.distributed.nn")
    dist.init_process_group(backend, timeout=timedelta(minutes=30))
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the trainer
        raise
    finally:
        # A trainer and its hooks hold each other, and the groups with their threads. At the end of the interpreter a
        # thread that still frees a tensor aborts the process, now and then: they have to end here.
        gc.collect()
        dist.destroy_process_group()
