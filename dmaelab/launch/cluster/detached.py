"""A process in a session of its own that submits a local job, and ends. It imports nothing heavy, so it is quick."""

import os
import pickle
import sys
from pathlib import Path

from submitit import LocalExecutor

from dmaelab.launch.cluster.records import LOGS
from dmaelab.utils.signals import let_through

_YEAR = 365 * 24 * 60  # minutes; submitit would end the job after five


def main() -> None:
    """Submit the job that stands on stdin, and print its id and log. The controller stays when this process ends."""
    let_through()  # the command holds signals back while it starts this process
    entry = pickle.load(sys.stdin.buffer)
    jobs = Path(sys.argv[1])
    answer = os.dup(1)
    # The controller inherits these, and must not keep the pipes of the command open.
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, jobs / "controller.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(path, flags), number)
    os.dup2(1, 2)
    executor = LocalExecutor(jobs / LOGS, max_num_timeout=10**6)
    executor.update_parameters(timeout_min=_YEAR, tasks_per_node=1, stderr_to_stdout=True)
    job = executor.submit(entry)
    os.write(answer, f"{job.job_id}\n{job.paths.stdout}\n".encode())


if __name__ == "__main__":
    main()
