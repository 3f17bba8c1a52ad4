"""What --status shows: states, progress, what went wrong and where, and what has changed since the submission."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_cluster import FORGOTTEN, state, submission, task

from dmaelab.launch.cluster import status as module
from dmaelab.launch.cluster.records import JOBS
from dmaelab.launch.cluster.status import status_text, statuses
from dmaelab.utils.files import file_hash
from dmaelab.utils.machine import GROUP_BROKE


@pytest.fixture(autouse=True)
def _code(monkeypatch):
    """Let the code be the one of the submission."""
    monkeypatch.setattr(module, "environment", lambda: {"code": None})


@pytest.fixture
def answers(slurm, tmp_path):
    """Return a function that sets what squeue knows: ``job="STATE|reason"``."""

    def set_states(folder=tmp_path, **jobs):
        slurm.queue(folder, *(f"{job.removeprefix('j')}|{state}" for job, state in jobs.items()))
        slurm.says("sacct")

    return set_states


def begin(folder, minutes=10, steps=100, step=25):
    """Write the files of a training that has begun so many minutes ago."""
    folder.mkdir(parents=True)
    began = datetime.now(UTC) - timedelta(minutes=minutes)
    start = {"steps": steps, "from_step": 0, "time": began.isoformat()}
    (folder / "run.json").write_text(json.dumps({"starts": [start]}))
    record = {"step": step, "lr": 0.1, "images_per_second": 9.0, "loss": 2.12345, "accuracy": 0.5, "a": 1.0, "b": 1.0}
    (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")


def write_log(log, done):
    """Write the log of a certification of 100 images, of which some are done."""
    log.mkdir()
    (log / "header.json").write_text(json.dumps({"identity": {"subset": {"count": 100}}}))
    (log / "shard-000-of-002.tsv").write_text("idx\n" + "0\n" * done)


def complaints(folder):
    return {found.task.name: found.complaint for found in statuses(folder)[1]}


def test_a_running_training_shows_progress_time_and_values(answers, tmp_path):
    submission(tmp_path, task(tmp_path, "train", "12"))
    begin(tmp_path / "train")
    answers(j12="RUNNING|None")
    lines = status_text(tmp_path).splitlines()
    assert lines[:2] == [
        f"jobs of {tmp_path}, submitted at 2026-01-02T03:04:05 UTC",
        "by: python tools/train_net.py 'a=[1, 2]'",
    ]
    cells = [cell.strip() for cell in lines[5].split("  ") if cell.strip()]
    assert cells[:4] == ["train", "12", "RUNNING", "step 25 of 100"]
    assert cells[4] in ("0:30:00", "0:29:59", "0:30:01")
    assert cells[5:] == ["loss 2.123", "accuracy 0.5"]
    assert lines[6:] == ["", f"logs: {tmp_path}/jobs/logs/JOB_0_log.out, where JOB is the id of the job"]
    answers(j12="COMPLETED|None")
    assert "0:30" not in status_text(tmp_path)


def test_an_array_shows_its_images_and_the_mean_speed(answers, tmp_path):
    submission(tmp_path, task(tmp_path, "certify", "12_0", "12_1", kind="certification"))
    answers(j12_0="RUNNING|None", j12_1="PENDING|Priority")
    assert statuses(tmp_path)[1][0].progress == ""
    write_log(tmp_path / "certify", done=30)
    assert statuses(tmp_path)[1][0].left == ""
    began = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    state(tmp_path, "12_0", "running", "certify", started=began, progress=10)
    (found,) = statuses(tmp_path)[1]
    assert found.state == "1 RUNNING, 1 PENDING"
    assert found.progress == "image 30 of 100"
    assert found.left[:4] in ("0:35", "0:34")
    text = status_text(tmp_path)
    assert "12_[0-1]" in text
    assert text.endswith("\ncertify: waits (Priority)")


def test_a_failed_process_is_named_with_line_node_and_log(answers, tmp_path):
    submission(tmp_path, task(tmp_path, "train", "12"))
    state(tmp_path, "12", "failed", rank=0, line="the group broke", ended="2026-01-02T04:00:01.000+00:00")
    state(tmp_path, "12", "failed", rank=3, line="no memory", node="b", ended="2026-01-02T04:00:00.900+00:00")
    state(tmp_path, "12", "stopped", rank=1, line="stopped", ended="2026-01-02T04:00:00.100+00:00")
    state(tmp_path, "11", "failed", rank=2, line="before", ended="2026-01-02T03:00:00.000+00:00")
    answers(j12="FAILED|NonZeroExitCode")
    expected = f"no memory (process 3 on b; log: {tmp_path}/jobs/logs/12_3_log.out)"
    assert complaints(tmp_path) == {"train": expected}
    assert status_text(tmp_path).splitlines()[-2:] == [
        f"train: {expected}",
        "to continue, give the same command again, with --resume",
    ]


def test_a_process_that_lost_the_connection_to_another_one_was_not_the_first(answers, tmp_path):
    """The clocks of two machines differ."""
    submission(tmp_path, task(tmp_path, "train", "12"))
    state(tmp_path, "12", "failed", rank=0, line=f"{GROUP_BROKE} (x)", ended="2026-01-02T04:00:00.000+00:00")
    state(tmp_path, "12", "failed", rank=1, line="no memory", ended="2026-01-02T04:00:01.000+00:00")
    answers(j12="FAILED|NonZeroExitCode")
    assert complaints(tmp_path)["train"].startswith("no memory (process 1 ")


def test_nothing_is_wrong_with_a_job_that_goes_on(answers, tmp_path):
    """Another process of it may have failed already; SLURM ends the others first."""
    submission(tmp_path, task(tmp_path, "train", "12"))
    state(tmp_path, "12", "failed", line="no memory")
    answers(j12="RUNNING|None")
    assert complaints(tmp_path) == {"train": ""}
    answers(j12="COMPLETED|None")
    assert complaints(tmp_path) == {"train": ""}


def test_a_task_that_was_cancelled_names_the_one_that_failed(answers, tmp_path):
    tasks = [("train", "12", ()), ("rs", "13", ("train",)), ("certify", "14", ("rs",)), ("other", "15", ())]
    tasks.append(("report", "16", ("train", "rs", "certify")))
    submission(tmp_path, *(task(tmp_path, name, job, after=after) for name, job, after in tasks))
    state(tmp_path, "12", "failed", line="no memory")
    answers(
        j12="FAILED|x",
        j13="CANCELLED|DependencyNeverSatisfied",
        j14="CANCELLED|x",
        j15="CANCELLED|x",
        j16="CANCELLED|x",
    )
    found = complaints(tmp_path)
    assert found["rs"] == "cancelled, because train did not succeed"
    assert found["certify"] == "cancelled, because rs did not succeed"
    assert found["report"] == "cancelled, because train did not succeed"
    assert found["other"] == "cancelled"
    assert "\nrs, report: cancelled, because train did not succeed\n" in status_text(tmp_path)
    answers(j12="FAILED|x", j13="PENDING|Dependency", j14="PENDING|Dependency", j15="COMPLETED|None")
    assert complaints(tmp_path)["rs"] == ""
    assert "waits" not in status_text(tmp_path)


def test_a_job_without_a_word_shows_how_slurm_saw_its_end(slurm, tmp_path):
    submission(tmp_path, task(tmp_path, "certify", "12_0", "12_1", kind="certification"))
    slurm.says("squeue", error=FORGOTTEN, status=1)
    slurm.says("sacct", "12_0|COMPLETED|0:0", "12_1|NODE_FAIL|1:0")
    assert complaints(tmp_path) == {"certify": f"node_fail (exit status 1:0); log: {tmp_path}/jobs/logs/12_1_0_log.out"}


def test_a_failed_job_without_a_log_asks_for_the_disk(slurm, tmp_path):
    submission(tmp_path, task(tmp_path, "train", "12"))
    slurm.says("squeue", error=FORGOTTEN, status=1)
    slurm.says("sacct", "12|FAILED|0:53")
    log = tmp_path / JOBS / "logs/12_0_log.out"
    assert complaints(tmp_path)["train"] == (
        f"failed (exit status 0:53), and there is no log {log}: does the node see this folder? It must be on a disk"
        " that all share"
    )
    log.parent.mkdir()
    log.touch()
    assert complaints(tmp_path)["train"] == f"failed (exit status 0:53); log: {log}"


def test_notes_tell_what_has_changed_while_jobs_are_not_over(answers, tmp_path, monkeypatch):
    sources = [tmp_path / name for name in ("same.py", "edited.py", "removed.py")]
    for path in sources:
        path.write_text("a = 1\n")
    submission(
        tmp_path, task(tmp_path, "train", "12"), sources={str(path): file_hash(path) for path in sources}, code="1.0+a"
    )
    monkeypatch.setattr(module, "environment", lambda: {"code": "1.0+b"})
    sources[1].write_text("a = 2\n")
    sources[2].unlink()
    answers(j12="PENDING|Priority")
    changed = "has changed since the submission; the jobs run what was submitted"
    assert status_text(tmp_path).splitlines()[-4:] == [
        "train: waits (Priority)",
        f"note: {sources[1]} {changed}",
        f"note: {sources[2]} {changed}",
        "note: the code was 1.0+a at the submission and is 1.0+b now; jobs run what they find",
    ]
    monkeypatch.setattr(module, "environment", lambda: {"code": "1.0+a"})
    assert "the code was" not in status_text(tmp_path)
    answers(j12="FAILED|x")  # the same command would now do something else
    assert status_text(tmp_path).count("note:") == 2
    answers(j12="COMPLETED|None")
    assert "note:" not in status_text(tmp_path)


@pytest.fixture
def runs(monkeypatch):
    """Let the process of a local job be there as long as its state says so."""
    monkeypatch.setattr("dmaelab.launch.cluster.scheduler._is_of", lambda folder, pid: True)


@pytest.fixture
def in_turn(tmp_path, runs):
    """Return a function that gives the states of three tasks of a local job, which is in a certain state."""
    tasks = [task(tmp_path, "train", "4194399"), task(tmp_path, "rs", "4194399", after=("train",))]
    report = task(tmp_path, "report", "4194399", kind="report", after=("rs",))
    submission(tmp_path, *tasks, report, launcher="local")

    def states(how, *finished, **changes):
        for name in finished:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "model_final.pth").touch()
        state(tmp_path, "4194399", how, "local", **changes)
        return [found.state for found in statuses(tmp_path)[1]]

    return states


def test_local_tasks_run_in_turn(in_turn, tmp_path):
    assert in_turn("running") == ["RUNNING", "PENDING", "PENDING"]
    assert in_turn("running", "train") == ["COMPLETED", "RUNNING", "PENDING"]
    assert "waits" not in status_text(tmp_path)
    assert in_turn("running", "train", "rs") == ["COMPLETED", "COMPLETED", "RUNNING"]
    assert in_turn("finished", "train", "rs") == ["COMPLETED"] * 3


def test_a_local_task_that_fails_cancels_the_later_ones(in_turn, tmp_path):
    assert in_turn("failed", "train", status=2, line="no such file") == ["COMPLETED", "FAILED", "CANCELLED"]
    found = complaints(tmp_path)
    assert found["rs"].startswith("no such file (process 0 on node7; log: ")
    assert found["report"] == "cancelled, because rs did not succeed"


def test_a_local_task_that_needs_nothing_is_cancelled_by_a_failure_too(tmp_path):
    submission(tmp_path, *(task(tmp_path, name, "4194399") for name in ("a", "b", "c")), launcher="local")
    state(tmp_path, "4194399", "failed", "local", line="no memory", status=71)
    found = complaints(tmp_path)
    assert found["a"].startswith("no memory (process 0")
    assert found["b"] == found["c"] == "cancelled, because a did not succeed"


@pytest.mark.parametrize(("kind", "left"), [("report", "0:19:59"), ("training", "")])
def test_a_local_certification_shows_the_time_to_go_if_it_is_the_only_one(tmp_path, runs, kind, left):
    certify = task(tmp_path, "certify", "4194399", kind="certification")
    submission(tmp_path, certify, task(tmp_path, "other", "4194399", kind=kind), launcher="local")
    write_log(tmp_path / "certify", done=40)
    began = (datetime.now(UTC) - timedelta(seconds=599.5)).isoformat()
    state(tmp_path, "4194399", "running", "local", started=began, progress=10)
    (found, _) = statuses(tmp_path)[1]
    assert found.progress == "image 40 of 100"
    assert found.left[:4] == left[:4]


@pytest.mark.parametrize("spelling", ["relative", "relative/", "dots", "link"])
def test_a_folder_may_be_spelled_in_other_ways(answers, tmp_path, monkeypatch, spelling):
    folder = tmp_path / "runs/a"
    (tmp_path / "elsewhere").mkdir()
    submission(folder, task(folder, "train", "12"))
    begin(folder / "train")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    named = {"relative": "runs/a", "relative/": "runs/a/", "dots": "elsewhere/../runs/a", "link": "link"}[spelling]
    answers(folder, j12="RUNNING|None")
    row = status_text(Path(named)).splitlines()[5]
    assert "step 25 of 100" in row


def test_a_folder_that_was_moved_still_says_what_went_wrong(answers, tmp_path):
    submission(tmp_path / "before", task(tmp_path / "before", "train", "12"))
    state(tmp_path / "before", "12", "failed", line="no memory")
    os.rename(tmp_path / "before", tmp_path / "after")
    answers(j12="FAILED|x")
    text = status_text(tmp_path / "after")
    assert f"\nlogs: {tmp_path}/after/jobs/logs/" in text
    assert "train: no memory (process 0 on node7; log: " in text


def test_a_silent_slurm_does_not_hide_what_the_files_say(slurm, tmp_path):
    submission(tmp_path, task(tmp_path, "train", "12"), task(tmp_path, "rs", "13"))
    begin(tmp_path / "rs")
    state(tmp_path, "12", "finished")
    slurm.says("squeue", error="slurm_load_jobs error: Unable to contact slurm controller", status=1)
    text = status_text(tmp_path)
    assert [line.split()[2] for line in text.splitlines()[5:7]] == ["COMPLETED", "UNKNOWN"]
    assert "step 25 of 100" in text
    assert "\nrs: unknown (SLURM does not answer (slurm_load_jobs error: Unable to contact slurm controller))" in text


def test_the_last_error_in_the_log_says_why_a_job_failed_that_has_said_nothing(answers, tmp_path):
    """Such as a command of the site's setup, which comes before any of our processes."""
    submission(tmp_path, task(tmp_path, "train", "12"))
    log = tmp_path / JOBS / "logs/12_0_log.out"
    log.parent.mkdir()
    log.write_bytes(
        b"\xff" * 9000 + b"\nerror: before\nerror: a command of setup failed: module load cuda\nslurmstepd: x\n"
    )
    answers(j12="FAILED|NonZeroExitCode")
    assert complaints(tmp_path)["train"] == f"failed: a command of setup failed: module load cuda; log: {log}"
