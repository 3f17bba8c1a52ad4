"""The callable that a job on a node unpickles and calls."""

import logging
import os
import sys
from dataclasses import dataclass

import torch

from dmaelab.launch.cluster.records import node_name
from dmaelab.launch.launcher import Count, this_machine
from dmaelab.launch.work import Work
from dmaelab.utils.cli import exit_status
from dmaelab.utils.errors import UserError
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
        gpus: number of GPUs of this machine that the job has asked for and wants to use.
    """

    work: Work
    processes: Count = None
    gpus: int = 0

    def __call__(self) -> None:
        """Do the work. The signals to stop were held back until now, so none can come too early."""

        def launch() -> None:
            let_through()
            be_patient(LOCKS_OF_THE_DEAD)
            if os.environ.get("RANK", "0") == "0":
                setup_logging()
            else:  # every process would print the same warnings
                logging.getLogger("dmaelab").setLevel(logging.ERROR)
            self._check_gpus()
            this_machine(self.processes).launch(self.work)

        sys.exit(exit_status(launch, is_last=True))

    def _check_gpus(self) -> None:
        """Refuse to do on the CPU, for days, what was meant for a GPU.

        Raises:
            UserError: the job has asked for GPUs and can use none.
        """
        if self.gpus and not torch.cuda.is_available():
            raise UserError(
                f"the job has asked for {self.gpus} GPU{'s' * (self.gpus > 1)} and torch can use none on {node_name()}:"
                " look at `setup` in the site's file and at the driver, or set the device to 'cpu'"
            )
