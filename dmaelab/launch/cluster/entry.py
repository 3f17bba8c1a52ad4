"""What submitit starts on a node: it does the work in a process of its own, and sees to it that nothing is lost.

This process imports nothing heavy, so it can handle signals almost from the start. It also outlives whatever happens to
the work, and so it can always say what happened.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from dmaelab.launch.cluster.child import Child
from dmaelab.launch.cluster.progress import images_done, steps_saved
from dmaelab.launch.cluster.records import AGAIN, State, node_name, now, read_state, state_file
from dmaelab.launch.cluster.scheduler import SlurmSilent, ask
from dmaelab.utils.errors import MachineError
from dmaelab.utils.machine import killed_by
from dmaelab.utils.watchdog import PREEMPTED

PATIENCE = 2
"""Number of starts in a row that may run for a whole time limit and save nothing new. Then the job fails."""

TRIES = 3
"""How often a job asks SLURM for something."""

PAUSE = 3.0
"""Seconds before the second try; twice as long before the third."""


@dataclass
class ClusterTask:
    """One job: a training, one shard of a certification, a report, or all tasks of a work one after the other.

    Args:
        work: pickled callable without arguments that does the work, or ends the process with an exit status.
        name: name of the task.
        part: number of this job in the task.
        kind: see :class:`~dmaelab.launch.cluster.records.TaskRecord`; it says how progress is measured.
        folder: where the work writes.
        jobs: folder of the records.
        shard: shard of a certification.
        together: whether the processes of the job form one process group.
        environment: variables to set for the work; None removes one.
        limit: seconds after which a signal means that the time limit is near; None if there is no limit.
        in_vain: number of starts before this one that ran until then and saved nothing new.
    """

    work: bytes
    name: str
    part: int
    kind: str
    folder: str
    jobs: str
    shard: tuple[int, int] | None = None
    together: bool = False
    environment: tuple[tuple[str, str | None], ...] = ()
    limit: float | None = None
    in_vain: int = 0

    def __call__(self) -> None:
        """Do the work; return if it succeeds.

        Raises:
            SystemExit: it failed, it was stopped, or it was put into the queue again.
        """
        started = time.monotonic()
        put_back: Any = signal.getsignal(signal.SIGUSR2)  # submitit's handler, which puts the job into the queue again
        child = Child()  # from here on it gets the signals
        job = JobEnvironment()
        state = self._begin(job)
        path = state_file(Path(self.jobs), self.name, self.part, job.global_rank)
        _write(state, path)

        def end(how: Any, status: int, line: str) -> None:
            _write(replace(state, state=how, status=status, line=line, ended=now()), path)

        status = child.run(self.work, self._environment(job))
        if status == 0:
            end("finished", 0, "")
        elif status != PREEMPTED and -status not in child.signals:
            end("failed", status, _reason(status, child.line))
            sys.exit(status if status > 0 else 128 - status)
        elif job.global_rank != 0:
            # The first process decides for the whole job. If this one ended with an error, SLURM would kill the first.
            end("stopped", status, child.line)
            sys.exit(0)
        elif signal.SIGUSR2 not in child.signals and (self._another_failed(job) or not _is_to_run(job)):
            end("stopped", status, child.line)  # it is being ended, or SLURM will start it again by itself
            sys.exit(PREEMPTED)
        else:
            whole = self.limit is not None and time.monotonic() - started >= self.limit
            self.in_vain = self.in_vain + 1 if whole and self._progress() <= state.progress else 0
            if self.in_vain >= PATIENCE:
                end("failed", status, f"nothing new was saved within slurm.time, {PATIENCE} times in a row: raise it")
                sys.exit(PREEMPTED)
            end("requeued", status, child.line)
            error = _put_back(put_back, job)
            line = f"the job could not be put into the queue again ({error}): {AGAIN}"
            end("failed", PREEMPTED, line)
            print(f"error: {line}")
            sys.exit(PREEMPTED)

    def checkpoint(self) -> DelayedSubmission:
        """Return what submitit runs when the job starts again: the same task, which continues."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # inherited by the command that puts the job into the queue
        return DelayedSubmission(self)

    def _begin(self, job: JobEnvironment) -> State:
        return State(
            job=job.job_id,
            state="running",
            node=node_name(),
            pid=os.getpid(),
            started=now(),
            progress=self._progress(),
            log=str(job.paths.stdout),
            rank=job.global_rank,
        )

    def _progress(self) -> int:
        """Return the number of steps or images that are saved."""
        if self.kind == "training":
            return steps_saved(Path(self.folder))
        return images_done(Path(self.folder), self.shard) if self.kind == "certification" else 0

    def _another_failed(self, job: JobEnvironment) -> bool:
        """Return whether another process of the job has failed: SLURM ends the rest then, and still says RUNNING."""
        paths = [state_file(Path(self.jobs), self.name, self.part, rank) for rank in range(job.num_tasks)]
        said = [state for state in map(read_state, paths) if state is not None and state.job == job.job_id]
        return any(state.state == "failed" for state in said)

    def _environment(self, job: JobEnvironment) -> dict[str, str]:
        """Return the environment of the work."""
        if self.together and job.num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        changes = dict(self.environment)
        kept = {name: value for name, value in os.environ.items() if name not in changes}
        return kept | {name: value for name, value in changes.items() if value is not None}


def _write(state: State, path: Path) -> None:
    """Write the state. If that fails, the job goes on: the state only tells others how it is."""
    try:
        state.write(path)
    except (OSError, MachineError) as error:
        with suppress(OSError):
            print(f"warning: the status cannot be written: {error}", flush=True)


def _reason(status: int, line: str) -> str:
    """Return why the work ended, from its exit status and its last line on stderr."""
    if status >= 0:
        return line or f"ended with status {status}"
    return f"{killed_by(-status)}; its last line is: {line}" if line else killed_by(-status)


def _is_to_run(job: JobEnvironment) -> bool:
    """Return whether SLURM has sent SIGTERM to a job that it does not end yet.

    At a preemption the job then runs until the end of the grace time. If it ended by itself before, it would count as
    failed, and SLURM would not start it again.
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return False
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        with suppress(SlurmSilent):  # busy, as when it preempts many jobs at once
            return ask("squeue", "-h", "-a", "-j", job.job_id, "-o", "%T") == ["RUNNING"]
    return False


def _put_back(handler: Any, job: JobEnvironment) -> Exception:
    """Put the job into the queue again, and end this process; return the error if that fails three times."""
    pickle, error = job.paths.submitted_pickle, Exception("submitit did not do it")
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        # Submitit refuses to write where a process was killed while it wrote.
        pickle.with_name(f"{pickle.name}.save_tmp").unlink(missing_ok=True)
        try:
            handler(signal.SIGUSR2, None)
        except Exception as failure:  # such as a node without the command scontrol, or a controller that is busy
            error = failure
    return error
