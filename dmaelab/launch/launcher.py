"""Who starts a job: the interface of all launchers, and the choice of one."""

from typing import Literal, Protocol

import torch

from dmaelab.launch.job import Job
from dmaelab.launch.processes import Processes
from dmaelab.utils.errors import UserError


class Launcher(Protocol):
    """Starts jobs somewhere and waits for them. Any class with this method is one; it need not inherit from this."""

    def launch(self, job: Job) -> None:
        """Have the job done; return when it is finished.

        The results lie where the config of the job says. Repeating the call after an error continues a certification,
        and a training whose job says ``resume``.

        Raises:
            UserError: it failed; one line says what to do, or where to read why.
            Preempted: a signal stopped it, and what is done is saved.
        """


class ThisProcess:
    """Runs a job in the process that asks for it.

    Started by torchrun, each of its processes asks, and a training joins them to one group.
    """

    def launch(self, job: Job) -> None:
        """Run the job here; its errors pass through."""
        job.run()


def choose_launcher(processes: int | Literal["auto"] = 1) -> Launcher:
    """Return the launcher for so many processes of this machine: one runs in this process.

    Args:
        processes: at least 1, or ``"auto"``: one per visible GPU, and one without any.

    Raises:
        UserError: fewer than 1.
    """
    count = max(1, torch.cuda.device_count()) if processes == "auto" else processes
    if count < 1:
        raise UserError(f"{count} processes cannot do any work: give at least 1, or 'auto' for one per GPU")
    return ThisProcess() if count == 1 else Processes(count)
