"""What both launchers share: before a submission, its record, and the words about it."""

import os
import pickle
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from submitit.helpers import clean_env

from dmaelab.launch.cluster.records import AGAIN, JOBS, Submission, TaskRecord
from dmaelab.launch.cluster.run import Run
from dmaelab.launch.launcher import Count
from dmaelab.launch.work import Task, Work
from dmaelab.utils.env import environment
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import file_hash
from dmaelab.utils.machine import machine_error

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
def new_records(folder: Path) -> Iterator[Path]:
    """Create ``<folder>/jobs`` and yield it. If the block fails, everything is again as it was before.

    Raises:
        UserError: the folder cannot be created.
    """
    jobs = folder / JOBS
    there = next(path for path in (jobs, *jobs.parents) if path.exists())
    states, earlier = jobs / "state", jobs / "state.earlier"
    known = set(jobs.iterdir()) if jobs.is_dir() else set()
    try:
        try:
            jobs.mkdir(parents=True, exist_ok=True)
            if states in known:  # of an earlier submission
                shutil.rmtree(earlier, ignore_errors=True)
                states.rename(earlier)
            states.mkdir()
        except OSError as error:
            reason = UserError(f"{folder} cannot be created: {error.strerror}")
            raise machine_error(error, path=folder) or reason from None
        yield jobs
        shutil.rmtree(earlier, ignore_errors=True)
    except BaseException:
        if earlier.is_dir():
            shutil.rmtree(states, ignore_errors=True)
            earlier.rename(states)
        for path in set(jobs.iterdir()) - known if jobs.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        for path in (jobs, *jobs.parents):
            if path == there:
                break
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


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


def pickled(work: Work, processes: Count = None) -> bytes:
    """Return the callable that a job runs."""
    return pickle.dumps(Run(work, processes))


def record(launcher: str, work: Work, tasks: Sequence[TaskRecord]) -> Submission:
    """Write the record of a submission, and return it."""
    known = environment()
    found = Submission(
        launcher=launcher,  # type: ignore[arg-type]
        command=known["command"],
        code=known["code"],
        jobs=str((work.folder / JOBS).absolute()),
        sources={str(path.resolve()): file_hash(path) for path in work.sources},
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
        after = f", after {', '.join(task.after)}" if task.after else ""
        lines.append(f"job {task.ids}: {task.name}{after}")
    return "\n".join(
        [
            *lines,
            f"folder:   {folder}",
            f"follow:   python tools/pipeline.py --status {folder}",
            f"cancel:   python tools/pipeline.py --cancel {folder}",
            f"continue: when the jobs have ended, {AGAIN}",
        ]
    )
