"""Launchers: the interface of objects that start jobs, and the function that chooses one."""

from collections.abc import Callable
from typing import Literal, Protocol

import torch

from dmaelab.config.imports import find
from dmaelab.launch.job import Job
from dmaelab.launch.processes import Processes
from dmaelab.utils.errors import ConfigError, UserError, did_you_mean
from dmaelab.utils.signatures import signature_of


class Launcher(Protocol):
    """Interface of launchers: starts a job and waits for it. A class need not inherit from it."""

    def launch(self, job: Job) -> None:
        """Run the job; return when it is finished.

        The results are written where the config of the job says. If the call is repeated after an error, a
        certification continues, and so does a training if its job has ``resume``.

        Raises:
            UserError: the job failed; one line says what to do, or where the reason was printed.
            MachineError: the machine failed, likewise.
            Preempted: a signal stopped the job, and finished work is saved.
        """


class ThisProcess:
    """Runs a job in the calling process.

    Under torchrun every process runs the job, and a training joins them to one process group.
    """

    def launch(self, job: Job) -> None:
        """Run the job here; its errors are raised unchanged."""
        job.run()


def this_machine(processes: int | Literal["auto"]) -> Launcher:
    """No job system: jobs run in this process, or in several processes of this machine."""
    count = max(1, torch.cuda.device_count()) if processes == "auto" else processes
    return ThisProcess() if count == 1 else Processes(count)


LAUNCHERS: dict[str, Callable[..., Launcher]] = {"none": this_machine}
"""Name -> class or function that makes a launcher, called as ``(processes=...)``. A new one is one line here."""


def choose_launcher(processes: int | Literal["auto"] = 1, name: str = "none") -> Launcher:
    """Return a launcher for jobs of so many processes.

    Args:
        processes: at least 1, or ``"auto"``: as many as the launcher finds GPUs for, and a single one without a GPU.
        name: a name in :data:`LAUNCHERS`, or the dotted name of a class or function of your own, such as
            ``my_project.launcher.MyLauncher``. It changes numbers by rounding only, so it is not part of a config.

    Raises:
        UserError: ``processes`` is less than 1.
        ConfigError: there is no such launcher.
    """
    if processes != "auto" and processes < 1:
        raise UserError(f"the number of processes is {processes}: give at least 1, or 'auto' for one per GPU")
    if "." in name:
        try:
            found = find(name)
        except ConfigError as error:
            raise ConfigError(f"launcher {name}: {error}") from error
        if not callable(found) or not signature_of(found, name).accepted({"processes": processes}):
            raise ConfigError(f"launcher {name}: give a class or function that takes the argument `processes`")
        return found(processes=processes)
    if name not in LAUNCHERS:
        raise ConfigError(
            f"there is no launcher '{name}'{did_you_mean(name, LAUNCHERS)}: choose one of {', '.join(LAUNCHERS)}, or"
            " give the dotted name of a class of your own"
        )
    return LAUNCHERS[name](processes=processes)
