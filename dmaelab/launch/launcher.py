"""Launchers: the interface of objects that start jobs, and the function that chooses one."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import torch

from dmaelab.config.imports import find
from dmaelab.launch.cluster.scheduler import check_free
from dmaelab.launch.processes import Processes
from dmaelab.launch.work import Work
from dmaelab.utils.errors import ConfigError, UserError, did_you_mean
from dmaelab.utils.signatures import signature_of


class Launcher(Protocol):
    """Interface of launchers: does the tasks of a work, or has them done. A class need not inherit from it.

    Two more methods are optional: ``preview(work) -> str`` says what the launcher would start, for ``--dry-run``, and
    ``ready(folder)`` raises ``UserError`` if it could not start a work in that folder.
    """

    def launch(self, work: Work) -> str | None:
        """Do all tasks; return None when they are finished, or a text to print if they go on in the background.

        ``work.in_order()`` gives the jobs one after the other. A launcher that does not use it calls
        ``work.accepted()`` when it can no longer refuse the work.

        The results are written where the config of each job says. If the call is repeated after an error, a
        certification continues, and so does a training if its job has ``resume``.

        Raises:
            UserError: a job failed; one line says what to do, or where the reason was printed.
            MachineError: the machine failed, likewise.
            Preempted: a signal stopped a job, and finished work is saved.
        """


class ThisProcess:
    """Runs jobs in the calling process.

    Under torchrun every process runs the job, and a training joins them to one process group.
    """

    def launch(self, work: Work) -> None:
        """Run the jobs here; their errors are raised unchanged."""
        for job in work.in_order():
            job.run()


Count = int | Literal["auto"] | None
"""Number of processes: at least 1; ``"auto"`` for one per GPU; None leaves it to the launcher."""


def this_machine(processes: Count = None, wait: bool = False) -> Launcher:
    """No job system: jobs run in this process, or in several processes of this machine, one after the other."""
    if wait:
        raise UserError("--wait is for --launcher local and slurm: without them a command always waits")
    count = max(1, torch.cuda.device_count()) if processes == "auto" else processes or 1
    return ThisProcess() if count == 1 else Processes(count)


def in_background(processes: Count = None, wait: bool = False) -> Launcher:
    """A process of this machine that outlives the command, started by submitit."""
    from dmaelab.launch.cluster.local import Local

    return Local(processes, wait)


def slurm(processes: Count = None, wait: bool = False) -> Launcher:
    """Jobs of SLURM, submitted by submitit."""
    from dmaelab.launch.cluster.slurm import Slurm

    return Slurm(processes, wait)


LAUNCHERS: dict[str, Callable[..., Launcher]] = {"none": this_machine, "local": in_background, "slurm": slurm}
"""Name -> function that makes a launcher, called as ``(processes=..., wait=...)``. A new one is one line here."""


def choose_launcher(processes: Count = None, name: str = "none", wait: bool = False) -> Launcher:
    """Return a launcher for jobs of so many processes.

    Args:
        processes: at least 1, or ``"auto"``: as many as the launcher finds GPUs for, and a single one without a GPU.
            None leaves it to the launcher: a single one on this machine, what the section ``slurm`` says under SLURM.
        name: a name in :data:`LAUNCHERS`, or the dotted name of a class or function of your own, such as
            ``my_project.launcher.MyLauncher``, which is called as ``(processes=...)``. It changes numbers by rounding
            only, so it is not part of a config.
        wait: wait for work that would go on in the background.

    Raises:
        UserError: ``processes`` is less than 1, or the launcher cannot wait.
        ConfigError: there is no such launcher.
    """
    if isinstance(processes, int) and processes < 1:
        raise UserError(f"the number of processes is {processes}: give at least 1, or 'auto' for one per GPU")
    if "." in name:
        return _own_launcher(name, 1 if processes is None else processes, wait)
    if name not in LAUNCHERS:
        raise ConfigError(
            f"there is no launcher '{name}'{did_you_mean(name, LAUNCHERS)}: choose one of {', '.join(LAUNCHERS)}, or"
            " give the dotted name of a class of your own"
        )
    return LAUNCHERS[name](processes=processes, wait=wait)


def _own_launcher(name: str, processes: int | str, wait: bool) -> Launcher:
    """Return the launcher that a dotted name makes."""
    try:
        found = find(name)
    except ConfigError as error:
        raise ConfigError(f"launcher {name}: {error}") from error
    if not callable(found) or not signature_of(found, name).accepted({"processes": processes}):
        raise ConfigError(f"launcher {name}: give a class or function that takes the argument `processes`")
    if wait:
        raise UserError(f"--wait is for --launcher local and slurm, not for {name}")
    launcher: Launcher = found(processes=processes)
    return launcher


def ready(launcher: Launcher, folder: Path) -> None:
    """Check that a launcher can start a work in a folder, before something there is deleted for it.

    Raises:
        UserError: it cannot, or jobs of an earlier submission wait or run there.
    """
    check_free(folder)
    if asked := getattr(launcher, "ready", None):
        asked(folder)


def start(launcher: Launcher, work: Work, dry_run: bool = False) -> None:
    """Let a launcher do a work, and print what it says; in a dry run only print what it would start, if it can say so.

    Raises:
        UserError, MachineError, Preempted: as of ``launch``.
    """
    preview = getattr(launcher, "preview", None)
    said = (preview(work) if preview else None) if dry_run else launcher.launch(work)
    if said is not None:
        print(said)
