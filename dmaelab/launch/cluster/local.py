"""The launcher for the background of this machine: one process does all tasks, started by submitit's local executor.

It belongs to a session of its own, so that it outlives the terminal. Submitit's local executor knows no dependencies,
so the tasks run one after the other in one job.
"""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from dmaelab.launch.cluster.entry import ClusterTask
from dmaelab.launch.cluster.follow import tell
from dmaelab.launch.cluster.new_records import new_records
from dmaelab.launch.cluster.records import LOCAL, Part
from dmaelab.launch.cluster.scheduler import cancel_local, check_free
from dmaelab.launch.cluster.submitting import (
    check_alone,
    environment_of_jobs,
    pickled,
    record,
    task_record,
    words,
)
from dmaelab.launch.launcher import Count, this_machine
from dmaelab.launch.work import Work
from dmaelab.utils.errors import UserError
from dmaelab.utils.signals import held_back


class Local:
    """Does the tasks of a work in the background of this machine.

    Args:
        processes: number of processes for each task, as without a launcher.
        wait: wait until all is finished, and show the progress.
    """

    def __init__(self, processes: Count = None, wait: bool = False) -> None:
        self.processes, self.wait = processes, wait

    def launch(self, work: Work) -> str | None:
        """Start the process.

        Returns:
            What to tell the user about it; None if it has waited, and all is finished.

        Raises:
            UserError: the process cannot be started, or an earlier one still runs.
        """
        check_alone()
        this_machine(self.processes)  # a wrong number is refused here
        work = replace(work, tasks=tuple(replace(task, job=task.job.restartable()) for task in work.tasks))
        with new_records(work.folder) as jobs:
            whole = [task for task in work.tasks if task.job.spread != "one"] or work.tasks
            entry = ClusterTask(
                work=pickled(work, self.processes),
                name=LOCAL,
                part=0,
                kind=whole[0].job.kind if len(whole) == 1 else "pipeline",
                folder=str(whole[0].folder.absolute()),
                jobs=str(jobs.absolute()),
                environment=(("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES")),),
            )
            job = None
            try:
                with held_back():  # Ctrl-C must not leave a process that no record knows
                    job, log = _start(entry, jobs)
                    submission = record("local", work, [task_record(task, [Part(job, log)]) for task in work.tasks])
                work.accepted()
            except BaseException:
                if job is not None:
                    cancel_local(work.folder, int(job))
                raise
        return tell(work, words(work, submission), self.wait)

    def ready(self, folder: Path) -> None:
        """Check that the work in a folder can be started; ``UserError`` if not, as of :meth:`launch`."""
        check_alone()
        check_free(folder)


def _start(entry: ClusterTask, jobs: Path) -> tuple[str, str]:
    """Start the job in a session of its own; return its id and the path of its log."""
    with environment_of_jobs():
        answer = subprocess.run(
            [sys.executable, "-m", "dmaelab.launch.cluster.detached", str(jobs.absolute())],
            input=pickle.dumps(entry),
            capture_output=True,
            start_new_session=True,
            check=False,
        )
    if answer.returncode != 0:
        said = answer.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {answer.returncode}"]
        raise UserError(f"the process in the background did not start: {said[-1]}")
    job, log = answer.stdout.decode().splitlines()
    return job, log
