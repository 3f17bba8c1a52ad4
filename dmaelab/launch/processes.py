"""A launcher that runs a job in several processes on this machine."""

import logging
import multiprocessing
import os
import tempfile
import threading
import uuid

import torch

from dmaelab.launch.job import CertifyJob, Job
from dmaelab.launch.watch import watch_shards
from dmaelab.utils.cli import PREEMPTED, preempted_by_signals, run_main
from dmaelab.utils.errors import Preempted, UserError

logger = logging.getLogger("dmaelab")


class Processes:
    """Starts a job in several processes of this machine and waits for all of them.

    A certification is split: process i does part i. If the device is ``"auto"`` or ``"cuda"``, process i takes the
    i-th visible GPU, modulo their number; without a GPU the processes share the cores. The processes write to one log
    folder and are otherwise independent. If one fails, the others finish their parts, and repeating the command does
    the rest.

    The processes of every other job form one process group. If one of them fails, the others are stopped.

    Args:
        count: processes, at least 1.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def launch(self, job: Job) -> None:
        """Start the processes and wait for them.

        Raises:
            UserError: a process failed; it has printed the reason.
            Preempted: a signal stopped the job. All processes have ended, and their finished work is saved.
        """
        if isinstance(job, CertifyJob):
            run_parts(job, self.count)
        else:
            run_group(job, self.count)


def run_group(job: Job, count: int) -> None:
    """Run one job in ``count`` processes of one process group, with torchrun's launcher; errors as of ``launch``."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    stopped = "stopped by a signal; the state is saved: continue with the same command"
    try:
        with tempfile.TemporaryDirectory(prefix="dmaelab-") as notes:  # the launcher would leave its own behind
            config = LaunchConfig(
                min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
                rdzv_endpoint="localhost:0", max_restarts=0, start_method="spawn",
                logs_specs=DefaultLogsSpecs(log_dir=notes),
            )  # fmt: skip
            elastic_launch(config, _member)(job)
    except SignalException:
        raise Preempted(stopped) from None
    except ChildFailedError as error:
        if any(failure.exitcode == PREEMPTED for failure in error.failures.values()):
            raise Preempted(stopped) from None
        failed = ", ".join(map(str, sorted(error.failures)))
        raise UserError(f"processes {failed} of {count} failed, see above") from None


def run_parts(job: CertifyJob, count: int) -> None:
    """Run each part of a certification in a process of its own, under one progress bar; errors as of ``launch``."""
    certification = job.certification()
    folder, sigma = certification.folder, certification.sigma
    logger.info("certifying in %d processes at sigma %g (= %g/255): %s", count, sigma, 255 * sigma, folder)
    context = multiprocessing.get_context("spawn")  # a forked process could not use CUDA
    children = [context.Process(target=_part, args=(job, number, count)) for number in range(count)]
    with preempted_by_signals(job.STOPPED):
        try:
            for child in children:
                child.start()
            watch_shards(children, folder, job.progress)
        finally:
            for child in children:
                if child.is_alive():
                    child.terminate()
            for child in children:
                if child.pid is not None:
                    child.join()
    if failed := [number for number, child in enumerate(children) if child.exitcode]:
        raise UserError(
            f"shards {', '.join(map(str, failed))} of {count} failed, see above; repeat the command to do the missing"
            " images"
        )


def _member(job: Job) -> None:
    """Run a job as one process of a group. This is a function because torchrun's launcher needs one with a name."""
    job()


def _part(job: CertifyJob, number: int, count: int) -> None:
    """Certify one part, in a process of its own."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if number:  # every process would print the same warnings
        logger.setLevel(logging.ERROR)
    os.environ["LOCAL_RANK"] = str(number)  # chooses the GPU of this process
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // count))
    run_main(job.part(number, count).work)


def _end_with_parent() -> None:
    """End this process when its parent ends.

    A parent that is killed cannot stop its children, and a child that goes on would keep its files locked.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
