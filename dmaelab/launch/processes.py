"""A launcher that runs a job in several processes on this machine."""

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess

import torch

from dmaelab.launch.failures import failure
from dmaelab.launch.job import CertifyJob, Job
from dmaelab.launch.relay import Relay
from dmaelab.launch.watch import watch_shards
from dmaelab.launch.work import Work
from dmaelab.utils.cli import INTERRUPTED, PREEMPTED, exit_status
from dmaelab.utils.signals import STOP, held_back, let_through
from dmaelab.utils.watchdog import WATCHDOG

logger = logging.getLogger("dmaelab")

GRACE = 30.0
"""Seconds that the other processes get to end after one of them has failed. Then they are killed."""


class Processes:
    """Starts a job in several processes of this machine and waits for all of them.

    A certification is split: process i does part i. If its device is ``"auto"`` or ``"cuda"``, process i takes the i-th
    visible GPU, modulo their number. The processes write to one log folder and are otherwise independent. If one fails,
    the others finish their parts, and repeating the command does the rest.

    The processes of every other job form one process group, and each needs a GPU of its own, if there are GPUs. If one
    of them fails, the others are stopped.

    The processes share the cores, unless ``OMP_NUM_THREADS`` says how many threads each has.

    Args:
        count: processes, at least 1.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def launch(self, work: Work) -> None:
        """Do one job after the other: start the processes and wait for them.

        Raises:
            UserError: a process failed; it has printed the reason.
            MachineError: the machine failed: a process was killed, or said so itself.
            Preempted: a signal stopped the job. All processes have ended, and their finished work is saved.
            KeyboardInterrupt: the same after Ctrl-C.
        """
        for job in work.in_order():
            if isinstance(job, CertifyJob):
                run_parts(job, self.count)
            elif job.spread == "one":
                job.run()
            else:
                run_group(job, self.count)


def run_group(job: Job, count: int) -> None:
    """Run one job in ``count`` processes that form one process group; raises the errors of ``Processes.launch``."""
    from torch.distributed import TCPStore

    # The processes meet at a store of this process, as those of torchrun do. So nobody else can take the port.
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    meeting = {
        "WORLD_SIZE": count,
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": store.port,
        "TORCHELASTIC_USE_AGENT_STORE": True,  # the store is there; process 0 need not open it
    }
    children, relay = _children(job, count, meeting, together=True)
    failed = _run(children, relay, lambda: _wait(children))
    if failed:
        raise failure(
            failed, count, "process", "processes", "then give the same command again (a training: with --resume)"
        )
    relay.raise_stop(
        "stopped by a signal after the work was finished"
        if all(child.exitcode == 0 for child in children)
        else "stopped by a signal before there was anything to save: give the same command again"
    )


def run_parts(job: CertifyJob, count: int) -> None:
    """Run each part of a certification in a process of its own, under one progress bar; errors as of ``launch``."""
    certification = job.certification()
    folder, sigma = certification.folder, certification.sigma
    logger.info("certifying in %d processes at sigma %g (= %g/255): %s", count, sigma, 255 * sigma, folder)
    children, relay = _children(job, count, {}, together=False)
    failed = _run(children, relay, lambda: watch_shards(children, folder, job.progress))
    if failed:
        raise failure(failed, count, "shard", "shards", "repeat the command to do the missing images")
    relay.raise_stop(job.STOPPED)


def _children(
    job: Job, count: int, environment: Mapping[str, object], together: bool
) -> tuple[list[BaseProcess], Relay]:
    """Return the processes of a job, which are still to be started, and what passes signals on to them."""
    context = multiprocessing.get_context("spawn")  # a forked process could not use CUDA
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    children: list[BaseProcess] = [
        context.Process(target=_work, args=(job, number, count, environment, sender))
        for number, (_, sender) in enumerate(pipes)
    ]
    return children, Relay(children, [receiver for receiver, _ in pipes], together)


def _run(children: Sequence[BaseProcess], relay: Relay, wait: Callable[[], None]) -> dict[int, int]:
    """Start the processes, call ``wait``, and stop those that still run.

    Returns:
        Number -> exit status of the processes that failed.
    """
    with relay:
        try:
            with held_back():
                # The first process would start Python's resource tracker, and that unblocks SIGINT and SIGTERM.
                resource_tracker.ensure_running()
            for child in children:
                with held_back():  # a signal now would lose the child; its own signals wait until it can handle them
                    if not relay.signalled:
                        child.start()
            wait()
        finally:
            failed = _failed(children, relay)  # before the others are stopped, whose end is no reason to report
            _stop(children)
    failed |= {number: code for number, code in _failed(children, relay).items() if code > 0}
    return dict(sorted(failed.items()))


def _wait(children: Sequence[BaseProcess]) -> None:
    """Wait until all processes of a group have ended, or one has ended early, for which the others may wait."""
    while (running := [child.sentinel for child in children if child.is_alive()]) and not any(
        child.exitcode for child in children
    ):
        connection.wait(running)


def _stop(children: Sequence[BaseProcess]) -> None:
    """Send SIGTERM to the processes that still run, and wait for them.

    A training saves its state first. If a process has ended early, the others may wait for it, so they are killed after
    :data:`GRACE` seconds.
    """
    for child in children:
        if child.is_alive():
            child.terminate()
    deadline = None
    while running := [child for child in children if child.is_alive()]:
        if deadline is None and _ended_early(children):
            deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() >= deadline:
            for child in running:
                child.kill()
        connection.wait([child.sentinel for child in running], None if deadline is None else 1.0)


def _ended_early(children: Sequence[BaseProcess]) -> dict[int, int]:
    """Return number -> exit status of the processes that have ended, but neither finished nor saved at a signal."""
    codes = {number: child.exitcode for number, child in enumerate(children)}
    return {number: code for number, code in codes.items() if code not in (None, 0, PREEMPTED, INTERRUPTED)}


def _failed(children: Sequence[BaseProcess], relay: Relay) -> dict[int, int]:
    """Return those of :func:`_ended_early` that were not ended by a signal to stop before they could save."""
    early = _ended_early(children)
    return {number: code for number, code in early.items() if -code not in STOP and number not in relay.dropped}


def _work(job: Job, number: int, count: int, environment: Mapping[str, object], sender: connection.Connection) -> None:
    """Do the work of process ``number`` of ``count``; say to the parent when it begins, and why it was stopped."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= {name: str(value) for name, value in environment.items()}
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // count))
    if number:  # every process would print the same warnings
        logger.setLevel(logging.ERROR)
    WATCHDOG.print_line = sender.send

    def work() -> None:
        let_through()
        sender.send("")
        job.part(number, count).run()

    sys.exit(exit_status(work, is_last=True))  # the terminal and the parent may send further signals


def _end_with_parent() -> None:
    """End this process when its parent ends.

    A parent that is killed cannot stop its children, and a child that goes on would keep its files locked.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        WATCHDOG.end(1)
