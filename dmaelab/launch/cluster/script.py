"""From the section ``slurm`` to the script that sbatch gets: the parameters of submitit's executor, and its text."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit import JobEnvironment
from submitit.slurm.slurm import _make_sbatch_string

from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.launch.job import Spread
from dmaelab.utils.errors import UserError

JobEnvironment.USR_SIG = "USR2"  # in the script, too; submitit would take another one from $SUBMITIT_PREEMPT_SIGNAL


# Around the commands of the site: the first one that fails ends the job, before it computes with the wrong modules.
_STRICT = ("trap 'echo \"error: a command of setup failed: $BASH_COMMAND\" >&2' EXIT", "set -e")
_LAX = ("set +e", "trap - EXIT")


def parameters(
    settings: SlurmSettings, name: str, spread: Spread, setup: Sequence[str] = (), after: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the parameters of submitit's ``SlurmExecutor`` for one job, or for each job of an array.

    Args:
        settings: what the job asks for.
        name: its name.
        spread: ``"group"``: all processes in one job; ``"parts"``: one process and at most one GPU for each job;
            ``"one"``: the same, in a single job. It may need no GPU, but a partition may refuse jobs without one.
        setup: shell commands to run before Python starts.
        after: ids of the jobs that must succeed before.
    """
    group = spread == "group"
    gpus = settings.gpus_per_node if group else min(1, settings.gpus_per_node)
    further = {**settings.extra, "requeue": True}  # a site may have switched this off
    if after:
        # Without the second option a job whose parent has failed would wait for ever.
        further |= {"dependency": "afterok:" + ":".join(after), "kill-on-invalid-dep": "yes"}
    chosen = {
        "job_name": name,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "exclude": settings.exclude,
        "nodes": settings.nodes if group else 1,
        "ntasks_per_node": settings.tasks if group else 1,
        "gpus_per_node": gpus or None,
        "cpus_per_task": settings.cpus_per_task,
        "mem": settings.mem if group else settings.mem_of_one,
        "time": settings.minutes,
        "signal_delay_s": settings.signal_delay,
        "array_parallelism": settings.array_parallelism,
        "setup": [*_STRICT, *setup, *_LAX] if setup else None,
        "additional_parameters": further,
        # If one process fails, the others would wait for it until the time limit. And srun does not everywhere take the
        # number of cores from the options of the script.
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={settings.cpus_per_task}"],
        "stderr_to_stdout": True,
    }
    # Submitit would set a wckey, which sites that use wckeys do not know.
    return {key: value for key, value in chosen.items() if value is not None} | {"wckey": None}


def check_folder(folder: Path) -> None:
    """Refuse a folder in whose name SLURM would replace something, or that would be more than a line of the script.

    Raises:
        UserError: it is such a folder.
    """
    named = str(folder.absolute())
    if not named.isprintable() or "%" in named or "\\" in named:
        raise UserError(
            f"the folder {named!r} cannot hold logs of SLURM, which replaces % and \\ in names: give another one"
        )


def script(chosen: dict[str, Any], logs: Path, jobs: int = 1) -> str:
    """Return the script that submitit gives to sbatch, for an array if ``jobs`` is above 1. It needs no SLURM."""
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(logs))}"
    text: str = _make_sbatch_string(command=command, folder=logs, map_count=jobs if jobs > 1 else None, **chosen)
    return text
