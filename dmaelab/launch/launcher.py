"""Launchers: the interface of objects that start jobs, and the function that chooses one."""

from typing import Literal, Protocol

import torch

from dmaelab.launch.job import Job
from dmaelab.launch.processes import Processes
from dmaelab.registry import Registry
from dmaelab.utils.errors import UserError

LAUNCHERS = Registry("launcher")
"""Maps a name to a class or function that makes a :class:`Launcher`, given the number of processes (at least 1)."""


class Launcher(Protocol):
    """Interface of launchers: starts a job and waits for it. A class need not inherit from it."""

    def launch(self, job: Job) -> None:
        """Run the job; return when it is finished.

        The results are written where the config of the job says. If the call is repeated after an error, a
        certification continues, and so does a training if its job has ``resume``.

        Raises:
            UserError: the job failed; one line says what to do, or where the reason was printed.
            Preempted: a signal stopped the job, and finished work is saved.
        """


class ThisProcess:
    """Runs a job in the calling process.

    Under torchrun every process runs the job, and a training joins them to one process group.
    """

    def launch(self, job: Job) -> None:
        """Run the job here; its errors are raised unchanged."""
        job.run()


@LAUNCHERS.register("none")
def this_machine(processes: int) -> Launcher:
    """Run jobs in this process, or in several processes of this machine."""
    return ThisProcess() if processes == 1 else Processes(processes)


def choose_launcher(processes: int | Literal["auto"] = 1, name: str = "none") -> Launcher:
    """Return a launcher for jobs of so many processes.

    Args:
        processes: at least 1, or ``"auto"``: one per visible GPU, and a single process without a GPU.
        name: name of a registered launcher.

    Raises:
        UserError: ``processes`` is less than 1.
        ConfigError: there is no such launcher.
    """
    count = max(1, torch.cuda.device_count()) if processes == "auto" else processes
    if count < 1:
        raise UserError(f"the number of processes is {count}: give at least 1, or 'auto' for one per GPU")
    return LAUNCHERS.build(name, processes=count)
