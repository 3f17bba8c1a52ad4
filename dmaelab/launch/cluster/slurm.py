"""The launcher for SLURM: every task is a job, or an array of jobs, which waits for those that it needs."""

import io
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.launch.cluster.entry import ClusterTask
from dmaelab.launch.cluster.follow import tell
from dmaelab.launch.cluster.new_records import new_records
from dmaelab.launch.cluster.records import JOBS, LOGS, Part, TaskRecord, array_of
from dmaelab.launch.cluster.scheduler import cancel_slurm, check_free, need_slurm
from dmaelab.launch.cluster.script import check_folder, parameters, script
from dmaelab.launch.cluster.site import Site
from dmaelab.launch.cluster.submitting import (
    check_alone,
    environment_of_jobs,
    pickled,
    record,
    task_record,
    words,
)
from dmaelab.launch.job import CertifyJob
from dmaelab.launch.launcher import Count
from dmaelab.launch.work import Task, Work
from dmaelab.utils.errors import UserError
from dmaelab.utils.signals import held_back
from dmaelab.utils.watchdog import WATCHDOG

_MARGIN = 15
"""Seconds that a job keeps, from the signal before its time limit, for putting itself into the queue again."""

_UNCHECKED = ("account", "qos")
_CLUSTERS = ("SLURM_CLUSTERS", "SBATCH_CLUSTERS")
_DEFAULTS = ("account", "partition", "qos", "constraint", "exclude", "reservation")


class Slurm:
    """Submits the tasks of a work to SLURM and returns at once, or waits for them.

    Args:
        processes: number of jobs that share a certification; ``"auto"`` and None take as many as a training would have
            processes.
        wait: wait until all jobs have ended, and show their progress.
    """

    def __init__(self, processes: Count = None, wait: bool = False) -> None:
        self.processes, self.wait, self.site = processes, wait, Site.load()

    def launch(self, work: Work) -> str | None:
        """Submit the tasks.

        Returns:
            What to tell the user about the jobs; None if it has waited, and all is finished.

        Raises:
            UserError: SLURM refuses a job. The text is what it says; jobs that were submitted before are cancelled, and
                nothing is left behind.
        """
        self._check(work.folder)
        if self.processes is not None and [task.job.spread for task in work.tasks] == ["group"]:
            raise UserError(
                "--processes says how many jobs share a certification, and there is none: for a training give"
                " slurm.nodes and slurm.gpus_per_node (or slurm.tasks_per_node)"
            )
        records: dict[str, TaskRecord] = {}
        with new_records(work.folder) as jobs:
            # All are checked before any is sent.
            entries = {task.name: self._entries(task, jobs) for task in work.tasks}
            try:
                for tasks in self._arrays(work):
                    with held_back():  # a job that SLURM has accepted must be known here before Ctrl-C ends the command
                        records |= self._submit(tasks, [entries[task.name] for task in tasks], records, jobs)
                        known = [records[task.name] for task in work.tasks if task.name in records]
                        submission = record("slurm", work, known)
                work.accepted()
            except BaseException as error:
                waiting = _ids(records)
                try:
                    with WATCHDOG.pause():
                        cancel_slurm(waiting)
                except UserError as failure:
                    raise UserError(f"{error}; and jobs {', '.join(waiting)} are not cancelled: {failure}") from error
                raise
        text = "\n".join([words(work, submission), f"site:     {self.site.path}", *self._unchecked(work)])
        return tell(work, text, self.wait)

    def ready(self, folder: Path) -> None:
        """Check that jobs for the work in a folder can be submitted from here.

        Raises:
            UserError: there is no SLURM here, or several, torchrun has started this process, or earlier jobs wait or
                run.
        """
        self._check(folder)
        check_free(folder)

    def _check(self, folder: Path) -> None:
        """Check what concerns this machine and the name of the folder."""
        need_slurm()
        if found := [name for name in _CLUSTERS if os.environ.get(name)]:
            raise UserError(
                f"${found[0]} may choose another cluster, and jobs go to the one of this machine only: unset it, and"
                " give the command on a machine of the cluster that you want"
            )
        check_alone()
        check_folder(folder)

    def preview(self, work: Work) -> str:
        """Return the scripts that sbatch would get, one for each job or array. It needs no SLURM."""
        check_folder(work.folder)
        texts = []
        for tasks in self._arrays(work):
            chosen = self._parameters(tasks[0], [f"<{name}>" for name in tasks[0].after])
            text = script(chosen, (work.folder / JOBS / LOGS).absolute(), sum(map(self._count, tasks)))
            texts.append(f"# {', '.join(task.name for task in tasks)}, with {self.site.path}\n{text}")
        return "\n".join(texts)

    def _arrays(self, work: Work) -> list[list[Task]]:
        """Return the tasks in lists whose jobs are one array: of one series, with the same needs and tasks before."""
        arrays: dict[Any, list[Task]] = {}
        for task in work.tasks:
            key = (task.series or task.name, task.job.spread, task.after, str(self.settings(task)))
            arrays.setdefault(key, []).append(task)
        return list(arrays.values())

    def settings(self, task: Task) -> SlurmSettings:
        """Return what a task asks of SLURM; raises ``ConfigError``."""
        return SlurmSettings.of(self.site.slurm, task.slurm)

    def _count(self, task: Task) -> int:
        """Return the number of jobs of a task."""
        if task.job.spread != "parts" or task.finished:
            return 1
        return self.processes if isinstance(self.processes, int) else self.settings(task).processes

    def _parameters(self, task: Task, after: Sequence[str]) -> dict[str, Any]:
        name = task.series or task.name
        return parameters(self.settings(task), name, task.job.spread, self.site.setup, after)

    def _gpus(self, task: Task) -> int:
        """Return the number of GPUs of a machine that a task asks for and wants to use."""
        settings = self.settings(task)
        return 0 if task.job.device == "cpu" or task.job.spread == "one" else settings.gpus_per_node

    def _unchecked(self, work: Work) -> list[str]:
        """Return a line about settings that SLURM may accept although they are wrong, if there are such."""
        chosen = [self.settings(task) for task in work.tasks]
        named = [f"slurm.{key}" for key in _UNCHECKED if any(getattr(one, key) is not None for one in chosen)]
        return [f"not checked: {' and '.join(named)}, which SLURM may accept unseen"] if named else []

    def _submit(
        self,
        tasks: Sequence[Task],
        entries: Sequence[Sequence[ClusterTask]],
        earlier: Mapping[str, TaskRecord],
        jobs: Path,
    ) -> dict[str, TaskRecord]:
        """Submit the jobs of some tasks, as an array if there are several."""
        # SLURM opens the log as soon as a job begins, so this folder is there before. Submitit would make one for each
        # job (%j), and only after sbatch.
        executor = SlurmExecutor(jobs / LOGS, max_num_timeout=10**6)  # ClusterTask counts those that were in vain
        executor.update_parameters(**self._parameters(tasks[0], _needed(tasks[0], earlier)))
        wanted = [(task, entry) for task, own in zip(tasks, entries, strict=True) for entry in own]
        chosen = self.settings(tasks[0])
        # sbatch lets these win over its script, so they stay only where we say nothing.
        given = {*chosen.extra, *(key for key, value in vars(chosen).items() if value is not None)}
        kept = [f"SBATCH_{key.upper()}" for key in _DEFAULTS if key not in given]
        try:
            # Submitit would print what sbatch says, before the error that repeats it.
            with environment_of_jobs(kept), redirect_stderr(io.StringIO()):
                found = executor.submit_array([entry for _, entry in wanted])
        except (FailedJobError, FailedSubmissionError) as error:
            said = _one_line(str(error))
            if "Unable to contact" in said or "timed out" in said:
                raise UserError(
                    f"SLURM does not answer ({said}): look with squeue whether it has taken the job {tasks[0].name}"
                ) from None
            raise UserError(f"SLURM refuses the job {tasks[0].name}: {said} (sinfo shows what there is)") from None
        parts: dict[str, list[Part]] = {task.name: [] for task in tasks}
        for (task, _), job in zip(wanted, found, strict=True):
            parts[task.name].append(Part(job.job_id, str(job.paths.stdout)))
        return {task.name: task_record(task, parts[task.name]) for task in tasks}

    def _entries(self, task: Task, jobs: Path) -> list[ClusterTask]:
        settings = self.settings(task)
        count, job = self._count(task), task.job.restartable(max(1.0, settings.signal_delay - _MARGIN))
        gpus, entries = self._gpus(task), []
        for number in range(count):
            part = job.part(number, count) if count > 1 else job
            single = Work(task.folder, (replace(task, job=part, announcement="", slurm={}),))
            entries.append(
                ClusterTask(
                    pickled(single, gpus=gpus),
                    task.name,
                    number,
                    job.kind,
                    str(task.folder.absolute()),
                    str(jobs.absolute()),
                    part.shard if isinstance(part, CertifyJob) else None,
                    job.spread == "group",
                    _threads(settings.cpus_per_task),
                    30.0 * settings.minutes,
                )
            )
        return entries


def _ids(records: Mapping[str, TaskRecord]) -> list[str]:
    """Return the ids of all jobs and arrays."""
    return sorted({array_of(part.id) for task in records.values() for part in task.parts})


def _needed(task: Task, earlier: Mapping[str, TaskRecord]) -> list[str]:
    """Return the ids of the jobs that a task waits for; a whole array is named by its own id."""
    wanted = {part.id for name in task.after for part in earlier[name].parts}
    ids: dict[str, None] = {}
    for job in sorted(wanted):
        whole = {part.id for other in earlier.values() for part in other.parts if array_of(part.id) == array_of(job)}
        ids[array_of(job) if whole <= wanted else job] = None
    return list(ids)


def _threads(cores: int) -> tuple[tuple[str, str | None], ...]:
    """Return the variable that gives each process its cores, unless the user has set it."""
    return () if "OMP_NUM_THREADS" in os.environ else (("OMP_NUM_THREADS", str(cores)),)


def _one_line(text: str) -> str:
    """Return SLURM's own words, without the name of the command and submitit's frame around them."""
    found = re.findall(r"sbatch: (?:error: )?(.+)", text)
    said = [line.removeprefix("Batch job submission failed: ").strip() for line in found]
    return "; ".join(dict.fromkeys(said)) or " ".join(text.split())
