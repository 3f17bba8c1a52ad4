"""The callable that a job on a node unpickles and calls."""

import logging
import os
import sys
from dataclasses import dataclass

from dmaelab.launch.launcher import Count, this_machine
from dmaelab.launch.work import Work
from dmaelab.utils.cli import exit_status
from dmaelab.utils.locks import be_patient
from dmaelab.utils.logs import setup_logging
from dmaelab.utils.signals import let_through

LOCKS_OF_THE_DEAD = 200.0
"""Seconds to wait for the locks of a machine that has died, which the file server keeps for some 90 seconds."""


@dataclass(frozen=True)
class Run:
    """Does the tasks of a work, one after the other, and ends the process with the exit status of a command.

    Args:
        work: the tasks. Under SLURM it is one task.
        processes: number of processes of this machine that share each task.
    """

    work: Work
    processes: Count = None

    def __call__(self) -> None:
        """Do the work. The signals to stop were held back until now, so none can come too early."""

        def launch() -> None:
            let_through()
            be_patient(LOCKS_OF_THE_DEAD)
            if os.environ.get("RANK", "0") == "0":
                setup_logging()
            else:  # every process would print the same warnings
                logging.getLogger("dmaelab").setLevel(logging.ERROR)
            this_machine(self.processes).launch(self.work)

        sys.exit(exit_status(launch, is_last=True))
