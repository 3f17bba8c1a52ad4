"""The process group of a job, from its environment."""

import gc
import os
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist

from dmaelab.utils.cli import PREEMPTED
from dmaelab.utils.distributed import local_rank
from dmaelab.utils.errors import Preempted, UserError


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
    import_module(
        "torch.distributed.nn"
    )  # DDP would do so later: its default arguments keep the group of that moment for ever
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


def in_processes(entry: Callable[..., None], *args: Any, count: int) -> None:
    """Call ``entry(*args)`` in so many processes of this machine, each of which may join :func:`process_group`; wait
    for all.

    torchrun's launcher: when one fails, or a signal comes, the others are asked to end.

    Raises:
        UserError: a process failed; its own line says why.
        Preempted: a signal came, and the processes have saved their state.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, start_method="spawn",
    )  # fmt: skip
    stopped = "stopped by a signal; the state is saved: continue with the same command"
    try:
        elastic_launch(config, entry)(*args)
    except SignalException:
        raise Preempted(stopped) from None
    except ChildFailedError as error:
        if any(failure.exitcode == PREEMPTED for failure in error.failures.values()):
            raise Preempted(stopped) from None
        failed = ", ".join(map(str, sorted(error.failures)))
        raise UserError(f"processes {failed} of {count} failed, see above") from None
