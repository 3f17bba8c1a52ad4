"""Cancel the jobs of a folder."""

import shutil
from pathlib import Path

from dmaelab.launch.cluster.records import Submission, again
from dmaelab.launch.cluster.scheduler import cancel_local, cancel_slurm, job_states
from dmaelab.utils.errors import UserError


def cancel(folder: Path) -> str:
    """Tell all jobs of a folder that have not ended to stop, and return what to print. Running jobs save their state.

    Raises:
        UserError: nothing was submitted there, SLURM does not answer or is not on this machine, or a local job belongs
            to another machine.
    """
    submission = Submission.read(folder)
    if submission.launcher == "slurm" and shutil.which("scancel") is None:
        raise UserError(f"{folder}: there is no SLURM on this machine: cancel the jobs on a machine of the cluster")
    states = job_states(folder, submission)
    left = [job for job, state in states.items() if not state.over]
    if not left:
        return f"{folder}: no job waits or runs"
    if submission.launcher == "slurm":
        cancel_slurm(left)
    elif (state := states[left[0]]).state == "UNKNOWN":
        raise UserError(f"{folder}: job {left[0]} cannot be cancelled here: {state.reason}: give the command there")
    else:
        cancel_local(folder, int(left[0]))
    jobs = f"job{'s' * (len(left) > 1)} {', '.join(left)}"
    return f"{folder}: told {jobs} to stop; to continue, {again(submission.command)}"
