"""One job on a node: how it ends, what it writes down, and when it puts itself into the queue again."""

import json
import os
import pickle
import signal
import subprocess
import sys

import pytest
from fake_cluster import code, state
from submitit.core.utils import DelayedSubmission, JobPaths

from dmaelab.launch.cluster import entry as module
from dmaelab.launch.cluster.entry import ClusterTask
from dmaelab.launch.cluster.records import read_state, state_file

AGAIN = "give the same command again (a training: with --resume)"
WAIT = "signal.sigwait([signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP])"  # they are blocked at first


def signalled(*names, before=""):
    """Return the work that is stopped by signals to its job, as a training is."""
    sent = [f"os.kill(os.getppid(), signal.{name}); {WAIT}" for name in names]
    return code(before, *sent, "print('error: stopped by a signal', file=sys.stderr)", "sys.exit(75)")


@pytest.fixture
def requeue():
    """Take the place of submitit's handler; return the list of its calls."""
    calls = []

    def handler(number, frame):
        calls.append(number)
        sys.exit(-1)

    signal.signal(signal.SIGUSR2, handler)
    return calls


@pytest.fixture
def job(tmp_path, monkeypatch, requeue, slurm):
    """Return a function that does a task as job 12 of SLURM, which is ending: its exit status and its state."""
    slurm.says("squeue", "COMPLETING")
    monkeypatch.setattr(module, "PAUSE", 0.0)
    variables = {"SUBMITIT_EXECUTOR": "slurm", "SUBMITIT_FOLDER": str(tmp_path / "jobs/logs"), "SLURM_JOB_ID": "12"}
    for name, value in {**variables, "SLURMD_NODENAME": "gpu07"}.items():
        monkeypatch.setenv(name, value)

    def do(task, rank=0):
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        status, handler = 0, signal.getsignal(signal.SIGUSR2)
        try:
            task()
        except SystemExit as end:
            status = end.code
        signal.signal(signal.SIGUSR2, handler)  # the next start has a process of its own
        return status, read_state(state_file(tmp_path / "jobs", task.name, task.part, rank))

    return do


@pytest.fixture
def task(tmp_path):
    (tmp_path / "jobs/state").mkdir(parents=True)

    def make(work, kind="training", **options):
        return ClusterTask(work, "train", 0, kind, str(tmp_path), str(tmp_path / "jobs"), **options)

    return make


def test_a_job_that_succeeds(job, task, tmp_path):
    path = tmp_path / "jobs/state/train.0.0.json"
    status, said = job(task(code(f"assert json.load(open({str(path)!r}))['state'] == 'running'")))
    assert status == 0
    assert (said.job, said.state, said.status, said.line, said.progress) == ("12", "finished", 0, "", 0)
    assert (said.node, said.pid) == ("gpu07", os.getpid())
    assert said.log == str(tmp_path / "jobs/logs/12_0_log.out")
    assert said.started <= said.ended


@pytest.mark.parametrize(
    ("line", "status", "expected", "words"),
    [
        ("sys.exit(3)", 3, 3, "ended with status 3"),
        ("print('error: sigma is -1', file=sys.stderr); sys.exit(2)", 2, 2, "sigma is -1"),
        ("raise KeyError('a')", 1, 1, "KeyError: 'a'"),
        ("os.kill(os.getpid(), 9)", 137, -9, "killed by SIGKILL, perhaps because the memory was full"),
        (
            "print('step 3', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
            *(139, -11, "killed by SIGSEGV; its last line is: step 3"),
        ),
    ],
)
def test_a_job_that_fails_says_why(job, task, requeue, line, status, expected, words):
    found, said = job(task(code(line)))
    assert (found, said.state, said.status, said.line) == (status, "failed", expected, words)
    assert requeue == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_job_that_is_cancelled_stops(job, task, requeue, name):
    status, said = job(task(signalled(name)))
    assert (status, said.state, said.status, said.line) == (75, "stopped", 75, "stopped by a signal")
    assert requeue == []


@pytest.mark.parametrize("names", [["SIGUSR2"], ["SIGTERM", "SIGUSR2"]])
def test_a_preempted_job_puts_itself_into_the_queue(job, task, requeue, slurm, names):
    status, said = job(task(signalled(*names)))
    assert (status, said.state, said.line) == (-1, "requeued", "stopped by a signal")
    assert requeue == [signal.SIGUSR2]
    assert slurm.calls("squeue") == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_job_with_a_grace_time_puts_itself_into_the_queue(job, task, requeue, slurm, name):
    """SLURM has told it to stop, and still counts it among the running ones."""
    slurm.says("squeue", "RUNNING")
    status, said = job(task(signalled(name)))
    assert (status, said.state, said.line) == (-1, "requeued", "stopped by a signal")
    assert requeue == [signal.SIGUSR2]
    assert slurm.calls("squeue") == ["-h -a -j 12 -o %T"]


def test_a_scheduler_that_is_too_busy_to_answer_is_asked_again(job, task, requeue, slurm):
    slurm.does("squeue", "if [ $n -lt 3 ]; then echo 'Socket timed out' >&2; exit 1; fi; echo RUNNING")
    _, said = job(task(signalled("SIGTERM")))
    assert (said.state, len(requeue), len(slurm.calls("squeue"))) == ("requeued", 1, 3)


@pytest.mark.parametrize("job_of_it", ["12", "11"])
def test_a_job_is_not_put_back_because_another_process_of_it_has_failed(
    job, task, requeue, slurm, tmp_path, monkeypatch, job_of_it
):
    """SLURM ends the other processes of the job then, and calls it RUNNING meanwhile."""
    monkeypatch.setenv("SLURM_NTASKS", "4")
    slurm.says("squeue", "RUNNING")
    state(tmp_path, job_of_it, "failed", rank=3)
    state(tmp_path, "12", "stopped", rank=1)
    status, said = job(task(signalled("SIGTERM")))
    expected = (75, "stopped", []) if job_of_it == "12" else (-1, "requeued", [signal.SIGUSR2])
    assert (status, said.state, requeue) == expected


@pytest.mark.parametrize(("lines", "expected"), [("sys.exit(0)", 0), ("sys.exit(3)", 3)])
def test_a_state_that_cannot_be_written_changes_nothing(job, task, requeue, tmp_path, capsys, lines, expected):
    begun = task(code(lines))
    (tmp_path / "jobs/state").rmdir()
    (tmp_path / "jobs/state").touch()
    status, said = job(begun)
    assert (status, said) == (expected, None)
    assert capsys.readouterr().out.count("warning: the status cannot be written: ") == 2


def test_a_job_whose_state_cannot_be_written_is_put_back_all_the_same(job, task, requeue, tmp_path):
    begun = task(signalled("SIGUSR2"))
    (tmp_path / "jobs/state").rmdir()
    (tmp_path / "jobs/state").touch()
    assert job(begun)[0] == -1
    assert requeue == [signal.SIGUSR2]


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "slurm_load_jobs error: Unable to contact slurm controller", "status": 1},
        {"lines": ["PREEMPTED"]},
        {"lines": []},
        None,
    ],
)
def test_a_job_that_slurm_does_not_call_running_stops(job, task, requeue, slurm, answer):
    if answer is None:  # a node without the command
        (slurm.folder / "squeue").write_text("#!/no/such/shell\n")
    else:
        slurm.says("squeue", *answer.pop("lines", ()), **answer)
    status, said = job(task(signalled("SIGTERM")))
    assert (status, said.state, requeue) == (75, "stopped", [])


def test_a_local_job_that_is_stopped_asks_nobody(job, task, requeue, slurm, monkeypatch):
    slurm.says("squeue", "RUNNING")
    for name, value in {"EXECUTOR": "local", "LOCAL_JOB_ID": "12", "LOCAL_GLOBALID": "0"}.items():
        monkeypatch.setenv(f"SUBMITIT_{name}", value)
    status, said = job(task(signalled("SIGTERM")))
    assert (status, said.state, requeue, slurm.calls("squeue")) == (75, "stopped", [], [])


def test_work_that_the_signal_itself_ends_is_put_back_too(job, task, requeue):
    line = "os.kill(os.getppid(), signal.SIGUSR2); signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])"
    _, said = job(task(code(line, "time.sleep(30)")))
    assert (said.state, said.status) == ("requeued", -signal.SIGUSR2)
    assert len(requeue) == 1


@pytest.mark.parametrize("names", [["SIGUSR2"], ["SIGTERM"], ["SIGTERM", "SIGUSR2"]])
def test_only_the_first_process_puts_the_job_back(job, task, requeue, slurm, names):
    slurm.says("squeue", "RUNNING")
    again = task(signalled(*names), limit=0.0, in_vain=1)
    status, said = job(again, rank=1)
    assert (status, said.state, said.status, said.rank, said.log[-12:]) == (0, "stopped", 75, 1, "12_1_log.out")
    assert (requeue, slurm.calls("squeue"), again.in_vain) == ([], [], 1)


def test_a_job_that_succeeds_in_spite_of_a_signal_is_finished(job, task, requeue):
    status, said = job(task(code(f"os.kill(os.getppid(), signal.SIGUSR2); {WAIT}")))
    assert (status, said.state, requeue) == (0, "finished", [])


def test_a_busy_scheduler_is_told_again(job, task):
    calls = []

    def handler(number, frame):
        calls.append(number)
        if len(calls) < 3:
            raise subprocess.CalledProcessError(1, "scontrol")
        sys.exit(-1)

    signal.signal(signal.SIGUSR2, handler)
    status, said = job(task(signalled("SIGUSR2")))
    assert (status, said.state, calls) == (-1, "requeued", [signal.SIGUSR2] * 3)


def test_what_a_killed_process_has_left_half_written_is_removed_before(job, task, tmp_path):
    stale = tmp_path / "jobs/logs/12_submitted.pkl.save_tmp"
    stale.parent.mkdir(exist_ok=True)
    stale.touch()

    def handler(number, frame):
        assert not stale.exists()
        sys.exit(-1)

    signal.signal(signal.SIGUSR2, handler)
    assert job(task(signalled("SIGUSR2")))[1].state == "requeued"
    assert not stale.exists()


def test_if_it_cannot_be_put_back_the_job_has_failed(job, task, capsys):
    calls = []

    def handler(number, frame):
        calls.append(number)
        raise FileNotFoundError(2, "No such file or directory", "scontrol")

    signal.signal(signal.SIGUSR2, handler)
    status, said = job(task(signalled("SIGUSR2")))
    words = f"the job could not be put into the queue again ([Errno 2] No such file or directory: 'scontrol'): {AGAIN}"
    assert len(calls) == 3
    assert (status, said.state, said.status, said.line) == (75, "failed", 75, words)
    assert capsys.readouterr().out == f"error: {words}\n"


def test_a_job_that_saves_nothing_new_in_two_time_limits_fails(job, task, requeue):
    again = task(signalled("SIGUSR2"), limit=0.0)
    assert job(again)[1].state == "requeued"
    assert again.in_vain == 1
    again = pickle.loads(pickle.dumps(again))
    status, said = job(again)
    assert (status, said.state) == (75, "failed")
    assert said.line == "nothing new was saved within slurm.time, 2 times in a row: raise it"
    assert len(requeue) == 1


@pytest.mark.parametrize(
    ("kind", "shard", "lines"),
    [
        ("training", None, "os.makedirs('checkpoints', exist_ok=True); open('checkpoints/step_0000010.pth', 'w')"),
        ("certification", (1, 2), "open('shard-001-of-002.tsv', 'w').write('idx\\n1\\n')"),
    ],
)
def test_progress_makes_up_for_a_time_limit(job, task, tmp_path, kind, shard, lines):
    again = task(signalled("SIGUSR2"), kind, shard=shard, limit=0.0)
    assert job(again)[1].state == "requeued"
    again.work = signalled("SIGUSR2", before=f"os.chdir({str(tmp_path)!r}); {lines}")
    assert job(again)[1].state == "requeued"
    assert again.in_vain == 0
    said = job(again)[1]
    assert (said.state, again.in_vain, said.progress) == ("requeued", 1, 10 if kind == "training" else 1)


def test_the_progress_of_other_parts_does_not_count(job, task, tmp_path):
    again = task(signalled("SIGUSR2"), "certification", shard=(1, 2), limit=0.0, in_vain=1)
    line = f"open({str(tmp_path / 'shard-000-of-002.tsv')!r}, 'w').write('idx\\n0\\n')"
    again.work = signalled("SIGUSR2", before=line)
    assert job(again)[1].state == "failed"


@pytest.mark.parametrize("limit", [1000.0, None])
def test_an_early_preemption_never_counts(job, task, limit):
    again = task(signalled("SIGUSR2"), "report", limit=limit, in_vain=1)
    assert job(again)[1].state == "requeued"
    assert again.in_vain == 0


def test_the_environment_of_the_work(job, task, tmp_path, monkeypatch):
    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("B", "1")
    path = tmp_path / "environment.json"
    work = code(f"json.dump(dict(os.environ), open({str(path)!r}, 'w'))")
    job(task(work, environment=(("A", "2"), ("B", None))))
    found = json.loads(path.read_text())
    assert found["A"] == "2"
    assert "B" not in found
    assert "RANK" not in found
    assert os.environ["A"] == "1"


@pytest.mark.parametrize(("together", "count", "expected"), [(True, 4, "3"), (False, 4, None), (True, 1, None)])
def test_processes_that_work_together_form_a_group(job, task, tmp_path, monkeypatch, together, count, expected):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "9")  # so that they are restored
        monkeypatch.delenv(name)
    slurm = {"NTASKS": count, "JOB_NUM_NODES": 2, "LOCALID": 1, "NODEID": 1, "JOB_NODELIST": "gpu[06-07]"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    path = tmp_path / "environment.json"
    job(task(code(f"json.dump(dict(os.environ), open({str(path)!r}, 'w'))"), together=together), rank=3)
    found = json.loads(path.read_text())
    assert found.get("RANK") == expected
    if expected:
        assert [found[name] for name in ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")] == ["4", "1", "gpu06"]


def test_a_job_of_submitit_is_put_back_and_continues(task, slurm, tmp_path):
    """The pickle that submitit's own handler writes is the same task, with what it has counted."""
    begun = tmp_path / "begun"
    lines = f"if os.path.exists({str(begun)!r}): sys.exit(0)\nopen({str(begun)!r}, 'w')"
    delayed = DelayedSubmission(task(signalled("SIGUSR2", before=lines), limit=0.0))
    delayed.set_timeout(60, 10**6)
    folder = tmp_path / "jobs/logs"
    paths = JobPaths(folder, "12", 0)
    paths.folder.mkdir()
    delayed.dump(paths.submitted_pickle)
    slurm.says("scontrol")
    environment = {**os.environ, "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "12"}
    command = [sys.executable, "-m", "submitit.core._submit", str(folder)]
    subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert slurm.calls("scontrol") == ["requeue 12"]
    path = state_file(tmp_path / "jobs", "train", 0, 0)
    assert read_state(path).state == "requeued"
    assert DelayedSubmission.load(paths.submitted_pickle).function.in_vain == 1
    assert subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 0
    assert read_state(path).state == "finished"
