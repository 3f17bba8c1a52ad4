"""How the jobs of a folder are: states, progress, time to go, newest values, and what went wrong. Needs no torch."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from dmaelab.launch.cluster.progress import images_done, images_wanted, is_finished, seconds_left, training_progress
from dmaelab.launch.cluster.records import (
    JOBS,
    LOCAL,
    LOGS,
    State,
    Submission,
    TaskRecord,
    again,
    local_state_file,
    read_state,
    state_file,
)
from dmaelab.launch.cluster.scheduler import JobState, SlurmSilent, job_states
from dmaelab.utils.env import environment
from dmaelab.utils.files import file_hash
from dmaelab.utils.machine import GROUP_BROKE

_SHOWN = 2  # values of the newest record
_TAIL = 8192  # bytes at the end of a log


@dataclass(frozen=True)
class TaskStatus:
    """The status of a task.

    Attributes:
        task: its record.
        states: state of each of its jobs.
        progress: such as ``"step 120 of 500"``; empty if it has not begun.
        left: time to go, such as ``"1:20:00"``; empty if it is not known.
        values: newest values of a training.
        failure: what the first process that failed said; None if none failed.
        why: why its jobs were cancelled; empty if they were not, or not because of another task.
    """

    task: TaskRecord
    states: tuple[JobState, ...]
    progress: str = ""
    left: str = ""
    values: str = ""
    failure: State | None = None
    why: str = ""

    @property
    def state(self) -> str:
        """The states of its jobs in a few words."""
        counts = Counter(state.state for state in self.states)
        return ", ".join(name if len(counts) == 1 else f"{count} {name}" for name, count in counts.items())

    @property
    def over(self) -> bool:
        """Whether all its jobs have ended."""
        return all(state.over for state in self.states)

    @property
    def succeeded(self) -> bool:
        """Whether all its jobs have succeeded."""
        return all(state.state == "COMPLETED" for state in self.states)

    @property
    def complaint(self) -> str:
        """Why it did not succeed, in one line; empty if it did, or has not ended."""
        if self.succeeded or not self.over:
            return ""
        if self.why:
            return self.why
        said = self.failure
        if said is not None:
            return f"{said.line} (process {said.rank} on {said.node}; log: {said.log})"
        ended = next(state for state in self.states if state.state != "COMPLETED")
        log = next(part.log for part, state in zip(self.task.parts, self.states, strict=True) if state is ended)
        text = f"{ended.state.lower()}{f' ({ended.reason})' if ended.reason else ''}"
        if ended.state == "CANCELLED":
            return text
        if ended.state == "FAILED" and not Path(log).is_file():
            return (
                f"{text}, and there is no log {log}: does the node see this folder? It must be on a disk that all share"
            )
        return f"{text}{_last_error(Path(log))}; log: {log}"


def _last_error(log: Path) -> str:
    """Return the last line of a log that begins with ``error:``, after a colon; empty if there is none."""
    try:
        lines = log.read_bytes()[-_TAIL:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    found = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return f": {found[-1]}" if found else ""


def statuses(folder: Path, silent: str = "") -> tuple[Submission, list[TaskStatus]]:
    """Return the newest submission of a folder, and the status of each of its tasks.

    With a reason ``silent``, SLURM is not asked.

    Raises:
        UserError: nothing was submitted there, or SLURM does not answer.
    """
    submission = Submission.read(folder)
    states = job_states(folder, submission, silent)
    found: list[TaskStatus] = []
    for task in submission.tasks:
        own = tuple(states[part.id] for part in task.parts)
        if submission.launcher == LOCAL:
            own = (_in_turn(task, own[0], found),)
        lost = [other for other in found if other.over and not other.succeeded]
        needed = [other for other in lost if other.task.name in task.after]
        if submission.launcher == LOCAL:  # it ends at the first failure, whatever the later tasks need
            needed = needed or lost[:1]
        # Of those that it needs, one may have been cancelled because of another one: name the causes.
        failed = [other.task.name for other in needed if not other.why] or [other.task.name for other in needed]
        cancelled = all(state.state == "CANCELLED" for state in own)
        why = f"cancelled, because {' and '.join(failed)} did not succeed" if failed and cancelled else ""
        found.append(
            TaskStatus(task, own, *_progress(folder, submission, task, own), _failure(folder, submission, task), why)
        )
    return submission, found


def _in_turn(task: TaskRecord, whole: JobState, before: Sequence[TaskStatus]) -> JobState:
    """Return the state of one task of a local job, which does its tasks one after the other."""
    if whole.state == "COMPLETED" or (is_finished(task.kind, Path(task.folder)) and whole.state != "PENDING"):
        return JobState("COMPLETED")
    if all(other.succeeded for other in before):
        return whole
    return JobState("CANCELLED") if whole.over else JobState("PENDING", "Dependency")


def _progress(work: Path, submission: Submission, task: TaskRecord, states: Sequence[JobState]) -> tuple[str, str, str]:
    """Return progress, time to go and newest values of a task, as texts."""
    folder, running = Path(task.folder), any(state.state == "RUNNING" for state in states)
    if task.kind == "training":
        step, total, seconds, record = training_progress(folder)
        if total is None:
            return "", "", ""
        shown = {name: value for name, value in record.items() if name in _best_names(record)}
        values = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        return f"step {step} of {total}", _clock(seconds) if running else "", values
    if task.kind == "certification":
        done, total = images_done(folder), images_wanted(folder)
        if total is None:
            return "", "", ""
        left = _images_left(work / JOBS, submission, task, done, total) if running else None
        return f"image {done} of {total}", _clock(left), ""
    return "", "", ""


def _best_names(record: Mapping[str, float]) -> list[str]:
    """Return the names of losses and metrics in a record, without speed, schedule and step."""
    technical = ("step", "lr", "images_per_second", "data_wait", "grad_norm", "memory_gib")
    return [name for name in record if not name.startswith(technical)][:_SHOWN]


def _images_left(jobs: Path, submission: Submission, task: TaskRecord, done: int, total: int) -> float | None:
    """Return the seconds to go of a certification at the mean speed of the jobs since the first of them started.

    It is None for one of several tasks of a local job, which does not say when this task began.
    """
    paths = [state_file(jobs, task.name, number, 0) for number in range(len(task.parts))]
    if submission.launcher == LOCAL:
        alone = all(other is task or other.kind == "report" for other in submission.tasks)
        paths = [local_state_file(jobs)] if alone else []
    begun = [state for state in map(read_state, paths) if state is not None]
    if not begun:
        return None
    before = sum(state.progress for state in begun)
    return seconds_left(done - before, total - done, min(state.started for state in begun))


def _failure(folder: Path, submission: Submission, task: TaskRecord) -> State | None:
    """Return what the process that failed first has written down; later ones may have failed because of it.

    The clocks of two machines may differ. One that has lost the connection to another one was not the first.
    """
    ids = {part.id for part in task.parts}
    name = LOCAL if submission.launcher == LOCAL else task.name
    paths = (folder / JOBS / "state").glob(f"{name}.*.json")
    said = [state for state in map(read_state, sorted(paths)) if state is not None and state.job in ids]
    failed = [state for state in said if state.state == "failed"]
    return min(failed, key=lambda state: (state.line.startswith(GROUP_BROKE), state.ended or ""), default=None)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def status_text(folder: Path) -> str:
    """Return the status of the jobs of a folder as a table, with the reasons of failures below it.

    Raises:
        UserError: nothing was submitted there, or its record is damaged.
    """
    try:
        submission, found = statuses(folder)
    except SlurmSilent as error:
        submission, found = statuses(folder, str(error))
    rows = [
        [status.task.name, status.task.ids, status.state, status.progress, status.left, status.values]
        for status in found
    ]
    names = ["task", "job", "state", "progress", "to go", "newest values"]
    lines = [
        f"jobs of {folder}, submitted at {submission.time[:19]} UTC",
        f"by: {_shell(submission.command)}",
        "",
        tabulate(rows, names, disable_numparse=True),
        "",
        f"logs: {folder / JOBS / LOGS}/JOB_0_log.out, where JOB is the id of the job",
    ]
    lines += _grouped((status.complaint, status) for status in found if status.complaint)
    for word, kind in (("waits", "PENDING"), ("runs", "RUNNING"), ("unknown", "UNKNOWN")):
        reasons = ((state.reason, status) for status in found for state in status.states if state.state == kind)
        lines += _grouped((f"{word} ({why})", status) for why, status in reasons if why not in ("", "Dependency"))
    if not all(status.succeeded for status in found):
        lines += _notes(submission)
        if all(status.over for status in found):
            lines.append(f"to continue, {again(submission.command)}")
    return "\n".join(lines)


def _grouped(said: Iterable[tuple[str, TaskStatus]]) -> list[str]:
    """Return a line for each text, with the names of all tasks of which it is said."""
    names: dict[str, dict[str, None]] = {}
    for text, status in said:
        names.setdefault(text, {})[status.task.name] = None
    return [f"{', '.join(tasks)}: {text}" for text, tasks in names.items()]


def _shell(command: Sequence[str]) -> str:
    """Return a command of this project as it can be given to a shell."""
    name, *arguments = command
    is_tool = name in ("train_net.py", "certify.py", "pipeline.py")
    return shlex.join(["python", f"tools/{name}", *arguments] if is_tool else command)


def _notes(submission: Submission) -> list[str]:
    """Return what has changed since the submission, and what this means for the jobs."""
    lines = []
    for path, before in submission.sources.items():
        if not Path(path).is_file() or file_hash(path) != before:
            lines.append(f"note: {path} has changed since the submission; the jobs run what was submitted")
    code = environment()["code"]
    if code and submission.code != code:
        lines.append(
            f"note: the code was {submission.code} at the submission and is {code} now; jobs run what they find"
        )
    return lines
