"""A cluster without a cluster: commands of SLURM that print what a test says, and works and records of small jobs."""

import os
import pickle
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from dmaelab.launch.cluster.records import JOBS, LOGS, Part, State, Submission, TaskRecord, state_file
from dmaelab.launch.job import CertifyJob, Job
from dmaelab.launch.work import Task, Work

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "srun", "scontrol")
FORGOTTEN = "slurm_load_jobs error: Invalid job id specified"


class FakeSlurm:
    """The commands of SLURM as scripts in a folder, which is the first in $PATH. Each keeps its arguments."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        folder.mkdir()
        for name in COMMANDS:
            self.says(name, error="nobody expects this command", status=99)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("SLURM_CONF", raising=False)

    def says(self, name, *lines, error="", status=0):
        """Let a command print these lines, and ``error`` on stderr."""
        (self.folder / f"{name}.out").write_text("".join(f"{line}\n" for line in lines))
        (self.folder / f"{name}.err").write_text(error)
        self.does(name, f"cat '{self.folder / name}.out'; cat '{self.folder / name}.err' >&2; exit {status}")

    def does(self, name, code):
        """Let a command run some lines of shell code; ``$n`` is the number of its calls so far."""
        log, path = self.folder / f"{name}.log", self.folder / name
        path.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{log}'\nn=$(wc -l < '{log}')\n{code}\n")
        path.chmod(0o755)

    def queue(self, folder, *rows):
        """Let squeue know jobs of the work in a folder, each as ``id|state|reason``."""
        self.says("squeue", *(f"{row}|{(folder / JOBS).absolute()}/.submission_file_x.sh" for row in rows))

    def calls(self, name):
        """Return the arguments of all calls of a command, one text for each call."""
        log = self.folder / f"{name}.log"
        return log.read_text().splitlines() if log.exists() else []


class Training(Job):
    """A training that is a process group."""

    kind: ClassVar[str] = "training"
    spread = "group"

    def work(self):
        pass


class Report(Job):
    """A report, which one process prints."""

    kind: ClassVar[str] = "report"
    spread = "one"

    def work(self):
        print("the table")


def certification(**slurm):
    """Return the job of a certification that is never done."""
    return CertifyJob(f"slurm: {slurm}")


def work(folder, *tasks):
    """Return a work; each task is (name, job), (name, job, names of the tasks before) or that with a series."""
    found = [Task(name, job, folder / name, *rest, slurm=job.section("slurm")) for name, job, *rest in tasks]
    return Work(folder, tuple(found))


def task(folder, name, *ids, kind="training", after=()):
    """Return the record of a task with so many jobs."""
    parts = tuple(Part(number, str(folder / JOBS / LOGS / f"{number}_0_log.out")) for number in ids)
    return TaskRecord(name, kind, str(folder / name), after, parts)


def submission(folder, *tasks, launcher="slurm", **changes):
    """Write the record of a submission, and return it."""
    made = Submission(
        launcher=launcher,
        command=["train_net.py", "a=[1, 2]"],
        code=None,
        jobs=str((folder / JOBS).absolute()),
        sources={},
        tasks=tuple(tasks),
        time="2026-01-02T03:04:05.678+00:00",
    )
    made = replace(made, **changes)
    (folder / JOBS / "state").mkdir(parents=True, exist_ok=True)
    made.write(folder)
    return made


def state(folder, job, how, name="train", part=0, rank=0, **changes):
    """Write what a process of this machine says of itself, and return it."""
    said = State(
        job=job,
        state=how,
        node="node7",
        pid=os.getpid(),
        started="2026-01-02T03:04:05.678+00:00",
        progress=0,
        log=str(folder / JOBS / LOGS / f"{job}_{rank}_log.out"),
        rank=rank,
    )
    said = replace(said, **changes)
    said.write(state_file(folder / JOBS, name, part, rank))
    return said


def alive(pid):
    """Return whether a process runs; one that has ended, and whose status nobody has asked for, has no command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def python_path():
    """Return the value of $PYTHONPATH with which a new process finds the package and these helpers."""
    return os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent), *filter(None, sys.path)])


def code(*lines):
    """Return a pickled work that runs some lines of Python; the modules that they need are imported."""
    text = "\n".join(["import json, os, signal, subprocess, sys, time", *lines])
    return pickle.dumps(partial(exec, text))
