"""What a launcher gets: tasks with their jobs, and which tasks need the results of which others."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmaelab.launch.job import Job

logger = logging.getLogger("dmaelab")


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Task:
    """One job of a work, with what a launcher has to know about it.

    Attributes:
        name: name of the task, such as that of a stage; unique in its work.
        job: what is to be done.
        folder: where the job writes: a run directory, the folder of a log, or that of a report.
        after: names of the tasks that must be finished before.
        series: tasks of one series differ in their seed only. A launcher may start them together, as a job array.
        slurm: the section ``slurm`` of its config, which may set some of the keys only.
        announcement: line to log when the task starts in this process; empty for none.
        finished: whether its results are there already, and the job only compares them with what is asked for.
    """

    name: str
    job: Job
    folder: Path
    after: tuple[str, ...] = ()
    series: str = ""
    slurm: Mapping[str, Any] = field(default_factory=dict)
    announcement: str = ""
    finished: bool = False


@dataclass(frozen=True)
class Work:
    """The tasks of one command.

    Attributes:
        folder: the run directory, the folder of a log, or that of a pipeline. A launcher that returns before the work
            is finished keeps its records there, in a folder ``jobs``.
        tasks: the tasks, in an order in which they can be done one after the other.
        sources: the config files that the tasks were made from; those that they import need not be named.
        accepted: called once by a launcher, when it has accepted the whole work and before it returns; :meth:`in_order`
            calls it before the first job. It deletes the results that are to be replaced.
    """

    folder: Path
    tasks: tuple[Task, ...]
    sources: tuple[Path, ...] = ()
    accepted: Callable[[], None] = _nothing

    @classmethod
    def of(cls, job: Job, folder: Path, name: str = "work", sources: tuple[Path, ...] = ()) -> "Work":
        """Return the work of a single job."""
        return cls(folder, (Task(name, job, folder, slurm=job.section("slurm")),), sources)

    def in_order(self) -> Iterator[Job]:
        """Yield the jobs one after the other, and log the announcement of each."""
        self.accepted()
        for task in self.tasks:
            if task.announcement:
                logger.info("%s", task.announcement)
            yield task.job
