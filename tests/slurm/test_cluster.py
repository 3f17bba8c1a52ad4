"""The cluster itself: its nodes answer, run jobs, and the accounting knows how these ended."""

import subprocess
import time

import pytest


def ask(*command: str) -> list[str]:
    """Return the lines that a command of SLURM prints."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_two_nodes_answer():
    assert len(set(ask("sinfo", "--noheader", "--responding", "--Node", "--format=%N"))) >= 2


@pytest.mark.parametrize(("status", "state"), [(0, "COMPLETED"), (3, "FAILED")])
def test_a_job_runs_on_two_nodes_and_its_end_is_known(tmp_path, status, state):
    options = ["--nodes=2", "--ntasks-per-node=1", "--time=5", f"--chdir={tmp_path}", "--output=log"]
    job = f"srun --label printenv SLURMD_NODENAME OMP_NUM_THREADS; exit {status}"
    result = subprocess.run(
        ["sbatch", "--parsable", "--wait", *options, "--wrap", job], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == status, result.stderr

    lines = sorted((tmp_path / "log").read_text().splitlines())
    assert [line for line in lines if line.endswith(": 1")] == ["0: 1", "1: 1"]  # the environment of the tests
    assert len({line for line in lines if not line.endswith(": 1")}) == 2

    question = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={result.stdout.strip()}"]
    deadline = time.monotonic() + 30
    while ask(*question, "--format=State,ExitCode") != [f"{state}|{status}:0"]:  # it hears of the end a little later
        assert time.monotonic() < deadline
        time.sleep(0.2)
