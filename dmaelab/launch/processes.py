"""A launcher that runs a job in several processes on this machine."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess

import torch
from torch.distributed import TCPStore

from dmaelab.launch.job import CertifyJob, Job
from dmaelab.launch.watch import watch_shards
from dmaelab.utils.cli import PREEMPTED, preempted_by_signals, run_main
from dmaelab.utils.errors import Preempted, UserError

logger = logging.getLogger("dmaelab")

GRACE = 30.0
"""Seconds that the processes of a group get to end after one of them has failed. Then they are killed."""


class Processes:
    """Starts a job in several processes of this machine and waits for all of them.

    Process i takes the i-th visible GPU, modulo their number, if the device is ``"auto"`` or ``"cuda"``. The processes
    share the cores.

    A certification is split: process i does part i. The processes write to one log folder and are otherwise
    independent. If one fails, the others finish their parts, and repeating the command does the rest.

    The processes of every other job form one process group. If one of them fails, the others are stopped.

    Args:
        count: processes, at least 1.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def launch(self, job: Job) -> None:
        """Start the processes and wait for them.

        Raises:
            UserError: a process failed; it has printed the reason, unless the kernel killed it.
            Preempted: a signal stopped the job. All processes have ended, and their finished work is saved.
        """
        if isinstance(job, CertifyJob):
            run_parts(job, self.count)
        else:
            run_group(job, self.count)


def run_group(job: Job, count: int) -> None:
    """Run one job in ``count`` processes that form one process group; raises the errors of ``Processes.launch``."""
    # The processes meet at a store of this process, as those of torchrun do. So nobody else can take the port.
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    meeting = {"WORLD_SIZE": count, "MASTER_ADDR": "localhost", "MASTER_PORT": store.port}
    as_torchrun = {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
    children = _children(job, count, meeting | as_torchrun)
    stopped = "stopped by a signal; the state is saved: continue with --resume (a pipeline: with the same command)"
    failed: dict[int, int] = {}
    signalled = False
    try:
        with _started(children, stopped):
            while not failed and (running := [child.sentinel for child in children if child.is_alive()]):
                connection.wait(running)
                failed = _failed(children)
            if failed:
                _stop(children, GRACE)  # what this does to the others is no reason to report
    except Preempted:
        ended = _failed(children).items()  # a process that had nothing to save yet, or evaluates, ends by SIGTERM
        signalled, failed = True, failed or {number: code for number, code in ended if code != -signal.SIGTERM}
    if failed:
        raise UserError(f"{_named(failed, 'process', 'processes')} of {count} failed, see above{_killed(failed)}")
    if signalled or any(child.exitcode == PREEMPTED for child in children):
        raise Preempted(stopped)


def run_parts(job: CertifyJob, count: int) -> None:
    """Run each part of a certification in a process of its own, under one progress bar; errors as of ``launch``."""
    certification = job.certification()
    folder, sigma = certification.folder, certification.sigma
    logger.info("certifying in %d processes at sigma %g (= %g/255): %s", count, sigma, 255 * sigma, folder)
    children = _children(job, count, {})
    with _started(children, job.STOPPED):
        watch_shards(children, folder, job.progress)
    if failed := _failed(children):
        raise UserError(
            f"{_named(failed, 'shard', 'shards')} of {count} failed, see above{_killed(failed)}; repeat the command to"
            " do the missing images"
        )


def _children(job: Job, count: int, environment: Mapping[str, object]) -> list[BaseProcess]:
    """Return the processes of a job, which are still to be started."""
    context = multiprocessing.get_context("spawn")  # a forked process could not use CUDA
    return [context.Process(target=_work, args=(job, number, count, environment)) for number in range(count)]


@contextmanager
def _started(children: Sequence[BaseProcess], stopped: str) -> Iterator[None]:
    """Start the processes. At the end of the block, or at a signal, stop those that still run and wait for them.

    At a signal it raises ``Preempted(stopped)``.
    """
    with preempted_by_signals(stopped):
        try:
            for child in children:
                child.start()
            yield
        finally:
            _stop(children)


def _stop(children: Sequence[BaseProcess], grace: float | None = None) -> None:
    """Send SIGTERM to the processes that still run, and wait for them; after ``grace`` seconds kill the rest."""
    running = [child for child in children if child.is_alive()]
    for child in running:
        child.terminate()
    deadline = None if grace is None else time.monotonic() + grace
    for child in running:
        child.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        if child.is_alive():
            child.kill()
            child.join()


def _failed(children: Sequence[BaseProcess]) -> dict[int, int]:
    """Return number -> exit status of the processes that have ended, but neither finished nor saved at a signal."""
    codes = {number: child.exitcode for number, child in enumerate(children)}
    return {number: code for number, code in codes.items() if code not in (None, 0, PREEMPTED)}


def _named(failed: Mapping[int, int], one: str, several: str) -> str:
    return f"{one if len(failed) == 1 else several} {', '.join(map(str, failed))}"


def _killed(failed: Mapping[int, int]) -> str:
    """Return what a process that was killed could not say itself."""
    killed = [number for number, code in failed.items() if code == -signal.SIGKILL]
    return f" ({', '.join(map(str, killed))}: killed, perhaps because the memory was full)" if killed else ""


def _work(job: Job, number: int, count: int, environment: Mapping[str, object]) -> None:
    """Do the work of process ``number`` of ``count``."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= {name: str(value) for name, value in environment.items()}
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // count))
    if number:  # every process would print the same warnings
        logger.setLevel(logging.ERROR)

    def work() -> None:
        try:
            job.part(number, count).work()
        except Preempted:
            if number == 0:
                raise
            sys.exit(PREEMPTED)  # the first process prints the line

    run_main(work)


def _end_with_parent() -> None:
    """End this process when its parent ends.

    A parent that is killed cannot stop its children, and a child that goes on would keep its files locked.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
