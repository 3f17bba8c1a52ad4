"""Cancel the jobs of a folder."""

from pathlib import Path

from dmaelab.launch.cluster.records import AGAIN, Submission
from dmaelab.launch.cluster.scheduler import cancel_local, cancel_slurm, job_states, need_slurm


def cancel(folder: Path) -> str:
    """Tell all jobs of a folder that have not ended to stop, and return what to print. Running jobs save their state.

    Raises:
        UserError: nothing was submitted there, or SLURM does not answer, or is not on this machine.
    """
    submission = Submission.read(folder)
    if submission.launcher == "slurm":
        need_slurm()
    left = [job for job, state in job_states(folder, submission).items() if not state.over]
    if not left:
        return f"{folder}: no job waits or runs"
    if submission.launcher == "slurm":
        cancel_slurm(left)
    else:
        cancel_local(folder, int(left[0]))
    jobs = f"job{'s' * (len(left) > 1)} {', '.join(left)}"
    return f"{folder}: told {jobs} to stop; to continue, {AGAIN}"
