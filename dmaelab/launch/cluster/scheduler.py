"""Asking the scheduler: the states of jobs, and cancelling them."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dmaelab.launch.cluster.records import (
    JOBS,
    LOCAL,
    LOGS,
    Part,
    Submission,
    TaskRecord,
    array_of,
    local_state_file,
    read_state,
    submitted,
)
from dmaelab.utils.errors import UserError

OVER = (
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "REVOKED",
    "ENDED",
)
"""States of jobs that have ended, in SLURM's words. ``ENDED`` is ours: the job has ended, and nobody knows how."""


class SlurmSilent(UserError):
    """SLURM did not answer a question. To ask again later may help."""


class JobState(NamedTuple):
    """The state of a job.

    Attributes:
        state: in SLURM's words, such as ``"PENDING"``, ``"RUNNING"`` or ``"COMPLETED"``.
        reason: why it waits, or with which status it ended; may be empty.
    """

    state: str
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether the job has ended, and will not run again by itself."""
        return self.state in OVER


def job_states(folder: Path, submission: Submission, silent: str = "") -> dict[str, JobState]:
    """Return job id -> state, for all jobs of a submission.

    On a machine without SLURM, and in a copy of the folder, the states of SLURM's jobs are what their processes have
    written. With a reason ``silent``, SLURM is not asked either.

    Raises:
        SlurmSilent: SLURM does not answer.
    """
    parts = [(task, number, part) for task in submission.tasks for number, part in enumerate(task.parts)]
    if submission.launcher == LOCAL:
        job = parts[0][2].id
        return {job: _local_state(folder, submission, job)}
    copied = _is_copy(folder, submission)
    asked = not copied and not silent and shutil.which("squeue") is not None
    known = _slurm_states([part.id for _, _, part in parts], submission.jobs) if asked else {}
    unknown = JobState("ENDED", "SLURM does not know it any more")
    if copied:
        unknown = _COPIED
    elif not asked:
        unknown = JobState("UNKNOWN", silent or "there is no SLURM on this machine")
    return {
        part.id: known.get(part.id) or _own_word(folder, task, number, part, unknown) for task, number, part in parts
    }


_COPIED = JobState("ENDED", "the folder is a copy, made after the submission")


def _is_copy(folder: Path, submission: Submission) -> bool:
    """Return whether the records of the submission lie elsewhere: the jobs belong to that folder, not to this one.

    If there is nothing where they were written, the folder was moved, or this machine has its disk at another place.
    """
    try:
        return not os.path.samefile(folder / JOBS, submission.jobs)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, TypeError, ValueError):
        return True


def _own_word(folder: Path, task: TaskRecord, number: int, part: Part, unknown: JobState) -> JobState:
    """Return the state of a job from what its processes have written, or else ``unknown``.

    If one has failed, so has the job; otherwise the first one knows.
    """
    paths = (folder / JOBS / "state").glob(f"{task.name}.{number}.*.json")
    said = [state for state in map(read_state, paths) if state is not None and state.job == part.id]
    if any(state.state == "failed" for state in said):
        return JobState("FAILED")
    first = next((state.state for state in said if state.rank == 0), None)
    ended = {"finished": "COMPLETED", "stopped": "CANCELLED"}.get(first or "")
    return JobState(ended) if ended else unknown


def _slurm_states(ids: Sequence[str], jobs: str) -> dict[str, JobState]:
    """Ask squeue, which knows what is true now, and for jobs that have ended sacct, if the site keeps accounts.

    A job of another cluster or another folder may have the same id. Ours have their script in the folder ``jobs``.

    Raises:
        SlurmSilent: squeue does not answer.
    """
    bases = ",".join(dict.fromkeys(map(array_of, ids)))
    found: dict[str, JobState] = {}
    foreign: set[str] = set()
    for line in ask("squeue", "-h", "-a", "-r", "-t", "all", "-j", bases, "-o", "%i|%T|%r|%o"):
        job, state, rest = line.split("|", 2)
        reason, ours, _ = rest.rpartition(f"|{jobs}{os.sep}")
        if not ours:
            foreign.add(job)
            continue
        found[job] = JobState(state, "" if state in OVER or reason == "None" else reason)
    if all(text in found and not found[text].over for text in ids):
        return found
    with suppress(SlurmSilent):
        for line in ask("sacct", "-X", "-n", "-P", "-j", bases, "-o", "JobID,State,ExitCode"):
            named, words, status = line.split("|")
            said = _ended(words.split(" ")[0], status)
            for job in _elements(named):
                if said.over and job not in foreign and (job not in found or found[job].over):
                    found[job] = said
    return found


def _ended(state: str, status: str) -> JobState:
    """Return the state of a job as sacct says it. A job that was preempted, and that squeue has forgotten, is over."""
    if state == "PREEMPTED":
        return JobState("CANCELLED", "preempted")
    return JobState(state, "" if status == "0:0" else f"exit status {status}")


def _elements(job: str) -> list[str]:
    """Return the ids in a notation such as ``12_[0-3,7%2]``, by which sacct lists the waiting jobs of an array."""
    base, bracket, rest = job.partition("[")
    if not bracket:
        return [job]
    numbers: list[str] = []
    for piece in re.sub(r"[%\]].*", "", rest).split(","):
        first, _, last = piece.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            numbers += [str(number) for number in range(int(first), int(last or first) + 1)]
    return [base + number for number in numbers]


def _without_filters() -> dict[str, str]:
    """Return the environment without the variables by which a user chooses what the commands of SLURM show."""
    filters = ("SQUEUE_", "SACCT_", "SCANCEL_", "SLURM_CLUSTERS")
    return {name: value for name, value in os.environ.items() if not name.startswith(filters)}


def ask(*command: str) -> list[str]:
    """Return the lines that a command of SLURM prints; none for jobs that it has forgotten.

    Raises:
        SlurmSilent: SLURM does not answer. It may do so later.
    """
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=_without_filters()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmSilent(f"SLURM does not answer ({error})") from None
    if answer.returncode == 0:
        return answer.stdout.splitlines()
    if "Invalid job id" in answer.stderr or "accounting storage is disabled" in answer.stderr:
        return []
    raise SlurmSilent(f"SLURM does not answer ({' '.join(answer.stderr.split())})")


def need_slurm() -> None:
    """Raise ``UserError`` if the commands of SLURM are not on this machine."""
    if missing := [name for name in ("sbatch", "squeue", "scancel", "srun") if shutil.which(name) is None]:
        raise UserError(
            f"there is no SLURM on this machine (no command {missing[0]}): use --launcher local to start the work in"
            " the background here, or give the command on a machine of the cluster"
        )


def _local_state(folder: Path, submission: Submission, job: str) -> JobState:
    said = read_state(local_state_file(folder / JOBS))
    own = said if said is not None and said.job == job else None  # else it is of an earlier submission
    if own is not None and own.state in ("finished", "failed", "stopped"):
        ended = {
            "finished": JobState("COMPLETED"),
            "failed": JobState("FAILED", f"exit status {own.status}"),
            "stopped": JobState("CANCELLED", "stopped by a signal"),
        }
        return ended[own.state]
    if _is_copy(folder, submission):
        return _COPIED
    if submission.host != os.uname().nodename:
        return JobState("UNKNOWN", f"it was started on {submission.host}, whose processes cannot be seen from here")
    if own is not None and own.state == "running" and _is_of(folder, own.pid):
        return JobState("RUNNING")
    # Between two starts, and before the first one, only submitit's controller is there.
    return JobState("PENDING") if _is_of(folder, int(job)) else JobState("ENDED", "its process is gone")


def _is_of(folder: Path, pid: int) -> bool:
    """Return whether a process belongs to a local job of this folder, and is not another one of the same number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        places = [Path(os.fsdecode(word)) for word in words if word.endswith(b"/logs")]
        return any(place.samefile(folder / JOBS / LOGS) for place in places)
    except OSError:  # there is no such process, or it is someone else's
        return False


def cancel_slurm(ids: Sequence[str]) -> None:
    """Cancel jobs of SLURM, if there are any. A job that runs saves its state first, if its step is short enough.

    Raises:
        UserError: scancel failed; the text is what it says.
    """
    if not ids:
        return
    need_slurm()
    command, environment = ["scancel", *ids], _without_filters()
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"SLURM does not answer ({error})") from None
    if answer.returncode != 0:
        raise UserError(" ".join(answer.stderr.split()))


def cancel_local(folder: Path, controller: int) -> None:
    """Tell the process of the local job of a folder to stop; it saves its state first."""
    said = read_state(local_state_file(folder / JOBS))
    pid = said.pid if said is not None and _is_of(folder, said.pid) else controller
    if _is_of(folder, pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def check_free(folder: Path) -> None:
    """Refuse a folder in which jobs of an earlier submission wait or run.

    Raises:
        UserError: there are such jobs, or SLURM does not answer.
    """
    if not submitted(folder):
        return
    for job, state in job_states(folder, Submission.read(folder)).items():
        if state.state == "UNKNOWN":
            raise UserError(
                f"{folder}: job {job} of an earlier submission may wait or run, and {state.reason}: give the command"
                f" where it can be seen, or delete {folder / JOBS} if it has surely ended"
            )
        if not state.over:
            raise UserError(
                f"{folder}: job {job} of an earlier submission is {state.state}: wait for it with tools/pipeline.py"
                f" --status {folder} --wait, or cancel it with --cancel {folder}"
            )
