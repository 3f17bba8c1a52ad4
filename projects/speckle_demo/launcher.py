"""A launcher: starts the parts of a certification one after the other, each in a process of its own."""

import multiprocessing
from typing import Literal

from dmaelab.launch.failures import failure
from dmaelab.launch.job import Job
from dmaelab.launch.work import Work
from dmaelab.utils.cli import PREEMPTED, preempted_by_signals
from dmaelab.utils.errors import Preempted


class OneByOne:
    """Runs the parts of a job one after the other, for a machine whose memory holds one process only.

    A part that fails, or that the kernel kills, does not stop the next one. A training is not split. Tables and reports
    are made in this process.

    Args:
        processes: number of parts of a certification; ``"auto"`` means 1.
    """

    STOPPED = "stopped by a signal; finished work is saved: continue with the same command"

    def __init__(self, processes: int | Literal["auto"]) -> None:
        self.processes = 1 if processes == "auto" else processes

    def launch(self, work: Work) -> None:
        """Do one job after the other, with all its parts.

        Raises:
            UserError: some parts of a job failed; later jobs are not done.
            MachineError: some parts failed, and the machine is to blame for all of them.
            Preempted: a signal stopped a part.
        """
        for job in work.in_order():
            if job.spread == "one":
                job.run()
            else:
                self._run_parts(job)

    def _run_parts(self, job: Job) -> None:
        """Run all parts of a job; raises the errors of :meth:`launch`."""
        count = self.processes if job.spread == "parts" else 1
        codes = [self._run(job.part(number, count)) for number in range(count)]
        if failed := {number: code for number, code in enumerate(codes) if code != 0}:
            raise failure(failed, count, "part", "parts", "repeat the command to do what is missing")

    def _run(self, part: Job) -> int:
        """Run one part in a new process, and return its exit status, which is negative if a signal killed it."""
        child = multiprocessing.get_context("spawn").Process(target=part)
        with preempted_by_signals(self.STOPPED):
            try:
                child.start()
                child.join()
            finally:
                if child.pid is not None:
                    child.terminate()
                    child.join()
        if child.exitcode == PREEMPTED:
            raise Preempted(self.STOPPED)
        return child.exitcode or 0
