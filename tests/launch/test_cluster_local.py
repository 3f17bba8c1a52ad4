"""The launcher for the background of this machine: what it starts, and what is left if it cannot."""

import os
import pickle
import signal
import sys
import time
from pathlib import Path

import pytest
from fake_cluster import Report, Training, alive, certification, code, work

from dmaelab.launch.cluster import follow
from dmaelab.launch.cluster import local as module
from dmaelab.launch.cluster.entry import ClusterTask
from dmaelab.launch.cluster.local import Local, _start
from dmaelab.launch.cluster.records import JOBS, Submission, read_state
from dmaelab.launch.cluster.scheduler import job_states
from dmaelab.utils.errors import UserError
from dmaelab.utils.signals import preempted_by_signals


@pytest.fixture
def entries(monkeypatch):
    """Start nothing; return the jobs that would be started."""
    found = []

    def start(entry, jobs):
        found.append(entry)
        return "4194399", str(jobs / "4194399/4194399_0_log.out")

    monkeypatch.setattr(module, "_start", start)
    return found


def test_all_tasks_are_one_job(entries, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    chain = work(tmp_path, ("train", Training("")), ("certify", certification(), ("train",)))
    text = Local(processes=2).launch(chain)
    assert text.splitlines()[:2] == ["job 4194399: train", "job 4194399: certify, after train"]
    (entry,) = entries
    assert (entry.name, entry.kind, entry.limit, entry.together) == ("local", "pipeline", None, False)
    assert entry.environment == (("CUDA_VISIBLE_DEVICES", "3"),)
    run = pickle.loads(entry.work)
    assert (run.processes, [task.name for task in run.work.tasks]) == (2, ["train", "certify"])
    assert not run.work.tasks[1].job.progress
    record = Submission.read(tmp_path)
    assert (record.launcher, [task.parts[0].id for task in record.tasks]) == ("local", ["4194399"] * 2)


@pytest.mark.parametrize(
    ("tasks", "kind", "folder"),
    [
        ([("certify", certification()), ("table", Report(""), ("certify",))], "certification", "certify"),
        ([("train", Training(""))], "training", "train"),
        ([("report", Report(""))], "report", "report"),
    ],
)
def test_the_progress_of_a_job_is_that_of_its_one_task_that_computes(entries, tmp_path, tasks, kind, folder):
    Local().launch(work(tmp_path, *tasks))
    assert (entries[0].kind, entries[0].folder) == (kind, str(tmp_path / folder))


def test_waiting_prints_the_job_first(entries, tmp_path, monkeypatch, capsys):
    followed = []
    monkeypatch.setattr(follow, "follow", followed.append)
    assert Local(wait=True).launch(work(tmp_path, ("train", Training("")))) is None
    assert len(followed) == 1
    assert capsys.readouterr().out.startswith("job 4194399: train\nfolder: ")


@pytest.mark.parametrize("ready", [Local.ready, lambda launcher, folder: launcher.launch(work(folder))])
def test_torchrun_is_refused_before_anything_begins(entries, tmp_path, monkeypatch, ready):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="--launcher cannot be combined with torchrun"):
        ready(Local(), tmp_path / "a")
    assert entries == list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "words"), [("echo a >&2; echo 'No space left' >&2; exit 1", "No space left"), ("exit 3", "exit status 3")]
)
def test_a_process_that_does_not_start_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, code, words):
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\ncat > /dev/null\n{code}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(UserError, match=f"^the process in the background did not start: {words}$"):
        Local().launch(work(tmp_path / "runs/a", ("train", Training(""))))
    assert list(tmp_path.iterdir()) == [script]


def test_a_job_that_has_started_runs_by_itself(tmp_path):
    jobs = tmp_path / JOBS
    (jobs / "state").mkdir(parents=True)
    wait = f"for _ in range(600): time.sleep(0.0 if os.path.exists({str(tmp_path / 'go')!r}) else 0.1)"
    lines = ["print('session', os.getsid(0))", wait, "print('error: sigma is -1', file=sys.stderr); sys.exit(2)"]
    job, log = _start(ClusterTask(code(*lines), "local", 0, "report", str(tmp_path), str(jobs)), jobs)
    assert alive(job)
    assert os.getsid(int(job)) != os.getsid(0)
    (tmp_path / "go").touch()
    path, end = jobs / "state/local.0.0.json", time.monotonic() + 60
    while not (path.exists() and read_state(path).state == "failed"):
        assert time.monotonic() < end
        time.sleep(0.05)
    said = read_state(path)
    assert (said.job, said.log, said.status, said.line) == (job, log, 2, "sigma is -1")
    text = Path(log).read_text()
    assert "\nerror: sigma is -1\n" in text
    assert f"session {os.getsid(0)}\n" not in text
    while alive(job):  # the controller writes until it ends
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_after_the_start_ends_the_job_and_leaves_nothing(tmp_path, monkeypatch):
    found = []

    def start(entry, jobs):
        found.append(_start(entry, jobs)[0])
        signal.raise_signal(signal.SIGINT)
        return found[0], ""

    monkeypatch.setattr(module, "_start", start)
    monkeypatch.setattr(module, "pickled", lambda work, processes: code("time.sleep(60)"))
    with pytest.raises(KeyboardInterrupt), preempted_by_signals("stopped"):  # as in a command
        Local().launch(work(tmp_path / "runs/a", ("train", Training(""))))
    assert not (tmp_path / "runs/a/jobs/submission.json").exists()
    end = time.monotonic() + 30
    while alive(found[0]):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_running_job_refuses_the_next_one(entries, tmp_path, monkeypatch):
    one = work(tmp_path, ("train", Training("")))
    Local().launch(one)
    assert job_states(tmp_path, Submission.read(tmp_path))["4194399"].state == "ENDED"
    Local().launch(one)
    monkeypatch.setattr("dmaelab.launch.cluster.scheduler._is_of", lambda folder, pid: True)
    with pytest.raises(UserError, match="job 4194399 of an earlier submission is PENDING"):
        Local().launch(one)
