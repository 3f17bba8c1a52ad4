"""Waiting for jobs: what is printed, how a failure ends the command, and that a signal ends only the waiting."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_cluster import JOBS, python_path, state, submission, task

from dmaelab.launch.cluster import follow as module
from dmaelab.launch.cluster.follow import follow
from dmaelab.utils.errors import MachineError, UserError

ROOT = Path(__file__).parents[2]
GO_ON = "the jobs go on: follow them with python tools/pipeline.py --status"
AGAIN = "; to continue, give the same command again, with --resume"


@pytest.fixture
def clock(monkeypatch):
    """Let the time go on by the seconds that are slept; return a list of functions to be called, one for each look."""
    now, acts = [100.0], []

    def sleep(seconds):
        now[0] += seconds
        acts.pop(0)()

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now[0]))
    return acts


def write_log(folder, job, *lines):
    """Write the log of a job, as submitit does."""
    path = folder / JOBS / "logs" / f"{job}_0_log.out"
    path.parent.mkdir(exist_ok=True)
    first = "submitit INFO (2026-01-02 03:04:05,678) - Starting with JobEnvironment(job_id=12)"
    last = "submitit INFO (2026-01-02 03:04:06,789) - Job completed successfully"
    with open(path, "a") as file:
        file.writelines(f"{line}\n" for line in (first, *lines, last))


@pytest.fixture
def chain(slurm, tmp_path):
    """Submit a training and a report after it."""
    tasks = [task(tmp_path, "train", "12"), task(tmp_path, "report", "13", kind="report", after=("train",))]
    submission(tmp_path, *tasks)
    slurm.says("sacct")
    write_log(tmp_path, "12", "not this one")
    write_log(tmp_path, "13", "the table")


def test_each_new_state_is_a_line_and_the_report_comes_at_the_end(chain, clock, slurm, capsys, tmp_path):
    slurm.queue(tmp_path, "12|PENDING|Priority", "13|PENDING|Dependency")
    clock.append(lambda: None)
    clock.append(lambda: slurm.queue(tmp_path, "12|RUNNING|None", "13|PENDING|Dependency"))
    clock.append(lambda: slurm.queue(tmp_path, "12|COMPLETED|None", "13|RUNNING|None"))
    clock.append(lambda: slurm.queue(tmp_path, "12|COMPLETED|None", "13|COMPLETED|None"))
    assert follow(tmp_path) is None
    assert capsys.readouterr().out.splitlines() == [
        *["train: PENDING", "report: PENDING", "train: RUNNING", "train: COMPLETED", "report: RUNNING"],
        *["report: COMPLETED", "the table"],
    ]


def test_progress_is_a_line_every_half_minute(chain, clock, slurm, capsys, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/run.json").write_text('{"starts": [{"steps": 9, "from_step": 0, "time": "2026-01-02"}]}')
    metrics = tmp_path / "train/metrics.jsonl"
    metrics.write_text('{"step": 1, "loss": 0.5}\n')
    slurm.queue(tmp_path, "12|RUNNING|None", "13|PENDING|Dependency")
    clock += [lambda: None] * 20
    clock.append(lambda: metrics.write_text('{"step": 9, "loss": 0.25}\n'))
    clock += [lambda: None] * 13
    clock.append(lambda: slurm.queue(tmp_path, "12|COMPLETED|None", "13|COMPLETED|None"))
    follow(tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train: RUNNING")]
    assert [line.split("  ")[1] for line in lines] == ["step 1 of 9", "step 1 of 9", "step 9 of 9"]
    assert lines[0].split("  ")[2].startswith("to go ")
    assert lines[2].endswith("  loss 0.25")


def test_an_evaluation_shows_what_its_last_start_has_printed(slurm, clock, tmp_path, capsys):
    submission(tmp_path, task(tmp_path, "evaluate", "12", kind="evaluation"))
    write_log(tmp_path, "12", "of the first start")
    write_log(tmp_path, "12", "accuracy 0.5", "", "loss 2")
    slurm.queue(tmp_path, "12|COMPLETED|None")
    slurm.says("sacct")
    follow(tmp_path)
    assert capsys.readouterr().out == "evaluate: COMPLETED\naccuracy 0.5\n\nloss 2\n"


def test_a_log_that_is_gone_is_no_failure(slurm, clock, tmp_path, capsys):
    submission(tmp_path, task(tmp_path, "report", "12", kind="report"))
    slurm.queue(tmp_path, "12|COMPLETED|None")
    slurm.says("sacct")
    follow(tmp_path)
    log = tmp_path / "jobs/logs/12_0_log.out"
    assert capsys.readouterr().out.splitlines()[-1] == f"{log} cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("status", "kind"), [(2, UserError), (1, UserError), (75, UserError), (71, MachineError), (-9, MachineError)]
)
def test_a_failure_is_one_line_with_advice(chain, slurm, clock, tmp_path, status, kind, capsys):
    state(tmp_path, "12", "failed", line="sigma is -1", status=status)
    slurm.queue(tmp_path, "12|FAILED|x", "13|CANCELLED|x")
    with pytest.raises(kind) as raised:
        follow(tmp_path)
    assert str(raised.value) == (
        f"train: sigma is -1 (process 0 on node7; log: {tmp_path}/jobs/logs/12_0_log.out); report: cancelled, because"
        f" this did not succeed{AGAIN}"
    )
    assert "the table" not in capsys.readouterr().out


def test_cancelled_jobs_are_a_failure_too(chain, slurm, clock, tmp_path):
    slurm.queue(tmp_path, "12|COMPLETED|None", "13|CANCELLED|x")
    with pytest.raises(UserError, match=f"^report: cancelled{re.escape(AGAIN)}$"):
        follow(tmp_path)


def test_a_silent_slurm_is_asked_again(chain, slurm, clock, capsys, tmp_path):
    slurm.says("squeue", error="Unable to contact slurm controller", status=1)
    clock.append(lambda: slurm.queue(tmp_path, "12|COMPLETED|None", "13|COMPLETED|None"))
    follow(tmp_path)
    assert capsys.readouterr().out.splitlines()[:2] == [
        "SLURM does not answer (Unable to contact slurm controller); asking again",
        "train: COMPLETED",
    ]


def test_jobs_that_cannot_be_seen_are_not_waited_for(tmp_path):
    submission(tmp_path, task(tmp_path, "train", "4194399"), launcher="local", host="gpu7")
    with pytest.raises(UserError, match="its jobs cannot be followed from here: it was started on gpu7"):
        follow(tmp_path)


def test_ctrl_c_ends_only_the_waiting(chain, slurm, clock, tmp_path):
    slurm.queue(tmp_path, "12|RUNNING|None", "13|PENDING|Dependency")
    clock.append(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as raised:
        follow(tmp_path)
    assert str(raised.value) == f"interrupted; {GO_ON} {tmp_path} --wait"
    assert slurm.calls("scancel") == []


def test_a_signal_ends_only_the_waiting(chain, slurm, tmp_path):
    slurm.queue(tmp_path, "12|RUNNING|None", "13|PENDING|Dependency")
    code = (
        "import sys; from pathlib import Path; from dmaelab.utils.cli import run_main;"
        "from dmaelab.launch.cluster.follow import follow;"
        "run_main(lambda: follow(Path(sys.argv[1])))"
    )
    environment, pipe = {**os.environ, "PYTHONPATH": python_path()}, subprocess.PIPE
    command = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout.readline() == "train: RUNNING\n"
        assert process.stdout.readline() == "report: PENDING\n"
        process.terminate()
        _, error = process.communicate(timeout=60)
    assert error == f"stopped by a signal; {GO_ON} {tmp_path} --wait\n"
    assert process.returncode == 75
    assert slurm.calls("scancel") == []


def test_the_status_command_waits_and_goes_on_with_the_jobs_result(chain, slurm, tmp_path):
    """`tools/pipeline.py --status DIR` shows what is, and with --wait it ends when the jobs have ended."""

    def call(*arguments):
        command = [sys.executable, ROOT / "tools/pipeline.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    slurm.queue(tmp_path, "12|COMPLETED|None", "13|COMPLETED|None")
    assert "report  13" in call("--status", tmp_path).stdout
    assert call("--status", tmp_path, "--wait").stdout.splitlines()[-1] == "the table"
    for arguments in (["--cancel", tmp_path, "--wait"], ["--status", tmp_path, "--from", "rs"]):
        found = call(*arguments)
        assert found.returncode == 2
        assert found.stderr.endswith("error: --status and --cancel take a folder only, and --status also --wait\n")
