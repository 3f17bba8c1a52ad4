"""Waiting for jobs: print what changes until all have ended, and raise the reason if one has failed."""

import time
from pathlib import Path

from dmaelab.launch.cluster.records import Submission, again
from dmaelab.launch.cluster.scheduler import SlurmSilent
from dmaelab.launch.cluster.status import TaskStatus, statuses
from dmaelab.launch.work import Work
from dmaelab.utils.cli import MACHINE_FAILED
from dmaelab.utils.errors import MachineError, UserError
from dmaelab.utils.signals import preempted_by_signals

_POLL = 2.0  # seconds between two looks
_PERIOD = 30.0  # seconds between two lines about progress


def tell(work: Work, text: str, wait: bool) -> str | None:
    """Return what is to be printed about a submission; with ``wait`` print it and :func:`follow` the jobs instead."""
    if not wait:
        return text
    print(text, flush=True)
    follow(work.folder)
    return None


def follow(folder: Path) -> None:
    """Wait until all jobs of a folder have ended, then print what those with a result to read have printed.

    Raises:
        UserError: a job failed, or was cancelled. The text is its own line, with process, node and log.
        MachineError: the same, if the machine is to blame.
        Preempted: a signal stopped the waiting; the jobs go on.
        KeyboardInterrupt: the same after Ctrl-C.
    """
    command = f"python tools/pipeline.py --status {folder} --wait"
    with preempted_by_signals(f"stopped by a signal; the jobs go on: follow them with {command}"):
        submission, found = _wait(folder)
    _raise_failure(submission, found)
    for status in found:
        if status.task.kind in ("evaluation", "report"):
            print(_printed(Path(status.task.parts[0].log)), flush=True)


def _printed(log: Path) -> str:
    """Return what the last start of a job has printed, without what submitit says."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"{log} cannot be read: {error.strerror}"
    starts = [number for number, line in enumerate(lines) if "Starting with JobEnvironment" in line]
    return "\n".join(line for line in lines[starts[-1] if starts else 0 :] if not line.startswith("submitit "))


def _wait(folder: Path) -> tuple[Submission, list[TaskStatus]]:
    shown: dict[str, str] = {}
    printed = time.monotonic()
    while True:
        try:
            submission, found = statuses(folder)
        except SlurmSilent as error:
            print(f"{error}; asking again", flush=True)
            time.sleep(_PERIOD)
            continue
        due = time.monotonic() - printed >= _PERIOD
        for status in found:
            if shown.get(status.task.name) != status.state or (due and "RUNNING" in status.state):
                shown[status.task.name], printed = status.state, time.monotonic()
                left = f"to go {status.left}" if status.left else ""
                parts = (status.state, status.progress, left, status.values)
                print(f"{status.task.name}: {'  '.join(part for part in parts if part)}", flush=True)
        if all(status.over for status in found):
            return submission, found
        unseen = [state.reason for status in found for state in status.states if state.state == "UNKNOWN"]
        if unseen and all(status.over or "UNKNOWN" in status.state for status in found):
            raise UserError(f"{folder}: its jobs cannot be followed from here: {unseen[0]}")
        time.sleep(_POLL)


def _raise_failure(submission: Submission, found: list[TaskStatus]) -> None:
    failed = [status for status in found if not status.succeeded]
    if not failed:
        return
    first = failed[0]
    later = [status.task.name for status in failed[1:] if status.why]
    text = f"{first.task.name}: {first.complaint}"
    if later:
        text += f"; {', '.join(later)}: cancelled, because this did not succeed"
    said = first.failure
    machine = said is not None and said.status is not None and (said.status == MACHINE_FAILED or said.status < 0)
    raise (MachineError if machine else UserError)(f"{text}; to continue, {again(submission.command)}")
