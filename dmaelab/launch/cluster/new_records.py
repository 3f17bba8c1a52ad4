"""The folder of the records while jobs are submitted: one command at a time, and nothing is left of one that fails."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmaelab.launch.cluster.records import JOBS, LOGS
from dmaelab.launch.cluster.scheduler import check_free
from dmaelab.utils.errors import UserError
from dmaelab.utils.locks import lock
from dmaelab.utils.machine import machine_error
from dmaelab.utils.signals import held_back


@contextmanager
def new_records(folder: Path) -> Iterator[Path]:
    """Create ``<folder>/jobs`` and yield its absolute path. If the block fails, all is again as it was before.

    Raises:
        UserError: the folder cannot be created, jobs of an earlier submission wait or run there, or another command is
            submitting some.
    """
    jobs = (folder / JOBS).absolute()
    with _made(jobs), _alone(jobs):
        check_free(folder)
        with _restored(jobs):
            yield jobs


@contextmanager
def _writing(jobs: Path) -> Iterator[None]:
    """Say in one line why something cannot be written."""
    try:
        yield
    except OSError as error:
        reason = UserError(f"{jobs.parent} cannot be created: {error.strerror}")
        raise machine_error(error, path=jobs.parent) or reason from None


@contextmanager
def _made(jobs: Path) -> Iterator[None]:
    """Create a folder. If the block fails, remove it and those above it that are new."""
    there = next(path for path in (jobs, *jobs.parents) if path.exists())
    try:
        with _writing(jobs):
            jobs.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in (jobs, *jobs.parents):
            if path == there:
                break
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


@contextmanager
def _alone(jobs: Path) -> Iterator[None]:
    """Keep other commands from submitting jobs for the same folder."""
    path = jobs / "submitting"
    with _writing(jobs):
        file = path.open("w")
    with file:
        try:
            lock(file, fcntl.flock)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):  # the other one has just removed its file
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            raise UserError(f"{jobs.parent}: another command is submitting jobs here: wait for its end") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _restored(jobs: Path) -> Iterator[None]:
    """Set the records of an earlier submission aside. If the block fails, bring them back, and remove what is new."""
    earlier = jobs / "earlier"
    _remove(earlier)  # of a command that was killed
    known = set(jobs.iterdir()) | set((jobs / LOGS).glob("*"))
    try:
        with _writing(jobs):
            earlier.mkdir()
            for path in known & {jobs / "state", jobs / "submission.json"}:
                path.rename(earlier / path.name)
            (jobs / "state").mkdir()
            (jobs / LOGS).mkdir(exist_ok=True)
        yield
    except BaseException:
        with held_back():
            aside = set(earlier.iterdir()) if earlier.is_dir() else set()
            new = (set(jobs.iterdir()) | set((jobs / LOGS).glob("*"))) - known - {earlier}
            for path in new | {jobs / path.name for path in aside}:
                _remove(path)
            for path in aside:
                path.rename(jobs / path.name)
            _remove(earlier)
        raise
    _remove(earlier)
    for link in (jobs / LOGS).glob(".submission_file_*.sh"):  # submitit leaves them beside its scripts
        link.unlink()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
