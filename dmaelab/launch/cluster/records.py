"""The records of a submission, as JSON in ``<folder>/jobs``: what was submitted, and what each process says of itself.

Submitit keeps pickles beside them. A pickle is code, so nothing but a job itself ever reads its pickle.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_json

JOBS = "jobs"
"""The folder of the records, below the folder of the work."""

LOGS = "logs"
"""The folder of the logs, scripts and pickles of submitit, below :data:`JOBS`."""

LOCAL = "local"
"""Name of the one job of ``--launcher local``."""

AGAIN = "give the same command again (a training: with --resume)"
"""How to continue, where the command is not known."""


def again(command: Sequence[str]) -> str:
    """Return how to continue the work of a command."""
    needs = Path(command[0]).name == "train_net.py" and not {"--resume", "--eval-only"} & set(command)
    return f"give the same command again{', with --resume' if needs else ''}"


@dataclass(frozen=True)
class Part:
    """One job of a task: all processes of a training, or one shard of a certification.

    Attributes:
        id: id of the job: that of SLURM (``123`` or ``123_4``), or the number of a local process.
        log: file to which its first process prints; that of process k ends with ``_k_log.out``.
    """

    id: str
    log: str


@dataclass(frozen=True)
class TaskRecord:
    """A task as it was submitted.

    Attributes:
        name: name of the task.
        kind: ``"training"``, ``"evaluation"``, ``"certification"`` or ``"report"``.
        folder: where it writes, as an absolute path.
        after: names of the tasks that had to be finished before.
        parts: its jobs.
    """

    name: str
    kind: str
    folder: str
    after: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def ids(self) -> str:
        """The ids of its jobs, as text."""
        first, last = self.parts[0].id, self.parts[-1].id
        return first if len(self.parts) == 1 else f"{first.replace('_', '_[')}-{last.partition('_')[2]}]"


@dataclass(frozen=True)
class Submission:
    """What was submitted by one command.

    Attributes:
        launcher: ``"slurm"`` or ``"local"``.
        time: when, in UTC.
        command: the command line.
        code: version of the code then, as in ``run.json``.
        jobs: folder of the records then, as an absolute path.
        host: name of the machine that submitted it; a local job runs there.
        sources: config file, or one that it imports -> hash of its content then.
        tasks: the tasks, in their order.
    """

    launcher: Literal["slurm", "local"]
    command: list[str]
    code: str | None
    jobs: str
    sources: dict[str, str]
    tasks: tuple[TaskRecord, ...]
    host: str = field(default_factory=lambda: os.uname().nodename)
    time: str = field(default_factory=lambda: now())

    def write(self, folder: Path) -> None:
        """Write the record for the work in ``folder``."""
        write_json(folder / JOBS / "submission.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Submission":
        """Return the newest submission of the work in ``folder``.

        Raises:
            UserError: nothing was submitted there, or the record is damaged.
        """
        path = folder / JOBS / "submission.json"
        if not path.is_file():
            if not folder.is_dir():
                raise UserError(f"there is no folder {folder}")
            near = [parent for parent in folder.absolute().parents[:3] if submitted(parent)]
            near += sorted(found.parents[1] for found in folder.glob(f"*/{JOBS}/{path.name}"))
            give = f"{near[0]}, which has some" if near else "the folder that --launcher slurm or local has printed"
            raise UserError(f"{folder}: no jobs were submitted here (there is no {JOBS}/{path.name}): give {give}")
        try:
            content = json.loads(path.read_text())
            tasks = [
                TaskRecord(
                    **{**task, "after": tuple(task["after"]), "parts": tuple(_part(part) for part in task["parts"])}
                )
                for task in content.pop("tasks")
            ]
            if not all(task.parts for task in tasks):
                raise ValueError("a task has no job")
            found = cls(**content, tasks=tuple(tasks))
            if found.launcher == LOCAL and not all(part.id.isdecimal() for task in tasks for part in task.parts):
                raise ValueError("the id of a local job is no number of a process")
            return found
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None


def _part(content: Mapping[str, Any]) -> Part:
    if not re.fullmatch(r"\d+(_\d+)?", content["id"]):
        raise ValueError(f"{content['id']!r} is no id of a job")
    return Part(**content)


def submitted(folder: Path) -> bool:
    """Return whether jobs were ever submitted for the work in ``folder``."""
    return (folder / JOBS / "submission.json").is_file()


def state_file(jobs: Path, name: str, part: int, rank: int) -> Path:
    """Return the file in which a process keeps its :class:`State`."""
    return jobs / "state" / f"{name}.{part}.{rank}.json"


def local_state_file(jobs: Path) -> Path:
    """Return the file of a local job, which does all tasks in one process."""
    return state_file(jobs, LOCAL, 0, 0)


@dataclass(frozen=True)
class State:
    """What a process of a job says of itself.

    Attributes:
        job: id of its job.
        state: ``"running"``, ``"finished"``, ``"failed"``, ``"stopped"`` (by a signal), or ``"requeued"``.
        node: name of its machine.
        pid: number of the process.
        started: when this start began, in UTC.
        progress: steps or images that were done then.
        ended: when it ended.
        status: its exit status; -n if signal n killed it.
        line: why it ended.
        log: file to which it prints.
        rank: its number among the processes of the job.
    """

    job: str
    state: Literal["running", "finished", "failed", "stopped", "requeued"]
    node: str
    pid: int
    started: str
    progress: int
    log: str
    ended: str | None = None
    status: int | None = None
    line: str = ""
    rank: int = 0

    def write(self, path: Path) -> None:
        """Write the state to its file."""
        write_json(path, asdict(self))


def read_state(path: Path) -> State | None:
    """Return the state in a file; None if there is none, or if it cannot be read."""
    try:
        found = State(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    numbers = (found.pid, found.progress, found.rank)
    return found if all(type(number) is int and number >= 0 for number in numbers) else None


def array_of(job: str) -> str:
    """Return the id of the array that a job belongs to, or its own."""
    return job.partition("_")[0]


def now() -> str:
    """Return the time in UTC as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def node_name() -> str:
    """Return the name of this machine, as the scheduler calls it."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename
