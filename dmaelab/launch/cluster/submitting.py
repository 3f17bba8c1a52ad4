"""What both launchers share: before a submission, its record, and the words about it."""

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from submitit.helpers import clean_env

from dmaelab.config.loader import config_files
from dmaelab.launch.cluster.records import JOBS, Submission, TaskRecord, again
from dmaelab.launch.cluster.run import Run
from dmaelab.launch.launcher import Count
from dmaelab.launch.work import Task, Work
from dmaelab.utils.env import environment
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import file_hash

_SHOWN = 3  # tasks that another one waits for, in a line
_TORCHRUN = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE")


def check_alone() -> None:
    """Refuse to submit from a process that torchrun has started.

    Raises:
        UserError: it has.
    """
    if found := [name for name in _TORCHRUN if name in os.environ]:
        raise UserError(
            f"--launcher cannot be combined with torchrun (${found[0]} is set): leave out one of them, for the launcher"
            " starts all processes itself"
        )


@contextmanager
def environment_of_jobs(kept: Sequence[str] = ()) -> Iterator[None]:
    """Give jobs the environment of this process, without what describes this process's own job.

    Modules are found in the same folders as here. SLURM_CONF says which cluster to talk to, so it stays, and so do the
    variables in ``kept``.
    """
    own = str(Path(__file__).resolve().parents[3])
    python = (os.path.join(sys.prefix, ""), os.path.join(sys.base_prefix, ""))
    folders = [own, *(path for path in sys.path if path and path != own and not path.startswith(python))]
    before = dict(os.environ)
    with clean_env():
        os.environ |= {name: before[name] for name in ("SLURM_CONF", *kept) if name in before}
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(map(os.path.abspath, folders)))
        try:
            yield
        finally:
            del os.environ["PYTHONPATH"]
            os.environ |= {name: before[name] for name in ("PYTHONPATH",) if name in before}


def pickled(work: Work, processes: Count = None, gpus: int = 0) -> bytes:
    """Return the callable that a job runs; see :class:`~dmaelab.launch.cluster.run.Run` for the arguments."""
    return pickle.dumps(Run(Work(work.folder, work.tasks), processes, gpus))


def record(launcher: str, work: Work, tasks: Sequence[TaskRecord]) -> Submission:
    """Write the record of a submission, and return it."""
    known = environment()
    sources = {path.resolve() for path in {*work.sources, *config_files()} if path.is_file()}
    found = Submission(
        launcher=launcher,  # type: ignore[arg-type]
        command=known["command"],
        code=known["code"],
        jobs=str((work.folder / JOBS).absolute()),
        sources={str(path): file_hash(path) for path in sorted(sources)},
        tasks=tuple(tasks),
    )
    found.write(work.folder)
    return found


def task_record(task: Task, parts: Sequence) -> TaskRecord:
    """Return the record of a task."""
    return TaskRecord(task.name, task.job.kind, str(task.folder.absolute()), task.after, tuple(parts))


def words(work: Work, submission: Submission) -> str:
    """Return what is printed after a submission: the jobs, the folder, and how to go on."""
    folder = work.folder
    lines = []
    for task in submission.tasks:
        shown, more = task.after[:_SHOWN], len(task.after) - _SHOWN
        after = f", after {', '.join(shown)}{f' and {more} more' if more > 0 else ''}" if shown else ""
        lines.append(f"job {task.ids}: {task.name}{after}")
    return "\n".join(
        [
            *lines,
            f"folder:   {folder}",
            f"follow:   python tools/pipeline.py --status {folder}",
            f"cancel:   python tools/pipeline.py --cancel {folder}",
            f"continue: when the jobs have ended, {again(submission.command)}",
        ]
    )
