"""The states of jobs: what squeue, sacct, and the files of the processes say, and which of them counts."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_cluster import FORGOTTEN, state, submission, task

from dmaelab.launch.cluster.cancel import cancel
from dmaelab.launch.cluster.records import JOBS, LOGS, Submission
from dmaelab.launch.cluster.scheduler import SlurmSilent, cancel_local, cancel_slurm, check_free, job_states
from dmaelab.utils.errors import UserError


def asked(folder, *ids):
    """Return the states of a task with these jobs."""
    return job_states(folder, submission(folder, task(folder, "train", *ids)))


def test_squeue_says_why_a_job_waits_and_which_one_runs(slurm, tmp_path):
    slurm.queue(tmp_path, "12|PENDING|Resources", "13|RUNNING|None")
    assert asked(tmp_path, "12", "13") == {"12": ("PENDING", "Resources"), "13": ("RUNNING", "")}
    assert slurm.calls("squeue") == ["-h -a -r -t all -j 12,13 -o %i|%T|%r|%o"]
    assert slurm.calls("sacct") == []


def test_a_reason_may_contain_anything(slurm, tmp_path):
    slurm.queue(tmp_path, "12|PENDING|Nodes required for job are DOWN, DRAINED or | reserved")
    assert asked(tmp_path, "12")["12"].reason == "Nodes required for job are DOWN, DRAINED or | reserved"


def test_sacct_knows_how_jobs_have_ended(slurm, tmp_path):
    slurm.queue(tmp_path, "13|FAILED|NonZeroExitCode")
    slurm.says("sacct", "12|COMPLETED|0:0", "13|FAILED|2:0", "14|CANCELLED by 1000|0:15", "15|OUT_OF_MEMORY|0:125")
    assert asked(tmp_path, "12", "13", "14", "15") == {
        "12": ("COMPLETED", ""),
        "13": ("FAILED", "exit status 2:0"),
        "14": ("CANCELLED", "exit status 0:15"),
        "15": ("OUT_OF_MEMORY", "exit status 0:125"),
    }
    assert slurm.calls("sacct") == ["-X -n -P -j 12,13,14,15 -o JobID,State,ExitCode"]


def test_the_jobs_of_an_array(slurm, tmp_path):
    slurm.queue(tmp_path, "12_4|PENDING|JobArrayTaskLimit", "12_5|RUNNING|None", "12_6|COMPLETED|None")
    slurm.says("sacct", "12_6|COMPLETED|0:0", "12_[0-2,7%2]|CANCELLED by 7|0:0", "12_3|TIMEOUT|0:0")
    found = asked(tmp_path, *(f"12_{number}" for number in range(8)))
    assert "-j 12 -o" in slurm.calls("squeue")[0]
    assert [state.state for state in found.values()] == [
        *["CANCELLED"] * 3,
        *["TIMEOUT", "PENDING", "RUNNING", "COMPLETED", "CANCELLED"],
    ]


@pytest.mark.parametrize("word", ["PREEMPTED", "REQUEUED", "NODE_FAIL", "CANCELLED by 0"])
def test_a_job_that_waits_again_has_not_ended(slurm, tmp_path, word):
    slurm.queue(tmp_path, "12|PENDING|BeginTime", "13|FAILED|NonZeroExitCode")
    slurm.says("sacct", f"12|{word}|0:15", "13|FAILED|1:0")
    assert asked(tmp_path, "12", "13")["12"] == ("PENDING", "BeginTime")


def test_accounting_that_is_late_does_not_bring_a_job_back(slurm, tmp_path):
    slurm.queue(tmp_path, "12|COMPLETED|None")
    slurm.says("sacct", "12|RUNNING|0:0", "13|RUNNING|0:0")
    assert [state.state for state in asked(tmp_path, "12", "13").values()] == ["COMPLETED", "ENDED"]


def test_a_preempted_job_that_waits_no_more_is_cancelled(slurm, tmp_path):
    slurm.says("squeue", error=FORGOTTEN, status=1)
    slurm.says("sacct", "12|PREEMPTED|0:15")
    found = asked(tmp_path, "12")["12"]
    assert found == ("CANCELLED", "preempted")
    assert found.over


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("finished", "COMPLETED"),
        ("failed", "FAILED"),
        ("stopped", "CANCELLED"),
        ("running", "ENDED"),
        ("requeued", "ENDED"),
    ],
)
@pytest.mark.parametrize("error", ["sacct: error: Slurm accounting storage is disabled", "sacct: error: no connection"])
def test_without_accounting_the_words_of_the_process_count(slurm, tmp_path, words, expected, error):
    slurm.says("squeue", error=FORGOTTEN, status=1)
    slurm.says("sacct", error=error, status=1)
    submission(tmp_path, task(tmp_path, "train", "12"))
    state(tmp_path, "12", words)
    reason = "SLURM does not know it any more" if expected == "ENDED" else ""
    assert asked(tmp_path, "12") == {"12": (expected, reason)}


def test_a_job_of_which_nobody_knows_has_ended(slurm, tmp_path):
    slurm.says("squeue", error=FORGOTTEN, status=1)
    slurm.says("sacct")
    submission(tmp_path, task(tmp_path, "train", "12"))
    state(tmp_path, "11", "finished")  # of an earlier submission
    found = asked(tmp_path, "12")["12"]
    assert found == ("ENDED", "SLURM does not know it any more")
    assert found.over


@pytest.mark.parametrize("error", ["slurm_load_jobs error: Unable to contact\n slurm controller", ""])
def test_a_silent_slurm_is_not_a_forgotten_job(slurm, tmp_path, error):
    slurm.says("squeue", error=error, status=1)
    state(tmp_path, "12", "finished")
    with pytest.raises(SlurmSilent, match=r"^SLURM does not answer \(.*\)$") as raised:
        asked(tmp_path, "12")
    assert " ".join(error.split()) in str(raised.value)
    with pytest.raises(SlurmSilent):
        check_free(tmp_path)


def test_a_command_that_cannot_be_started_is_a_silent_slurm(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(slurm.folder))
    (slurm.folder / "squeue").write_text("#!/no/such/shell\n")
    with pytest.raises(SlurmSilent, match=r"^SLURM does not answer \(.*No such file or directory: 'squeue'\)$"):
        asked(tmp_path, "12")


def test_a_command_that_hangs_is_a_silent_slurm(slurm, tmp_path, monkeypatch):
    def hang(command, timeout, **options):
        raise subprocess.TimeoutExpired(command[0], timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(SlurmSilent, match=r"^SLURM does not answer \(Command 'squeue' timed out after 60 seconds\)$"):
        asked(tmp_path, "12")


@pytest.mark.parametrize("how", ["running", "requeued", None])
def test_without_slurm_the_states_are_those_of_the_files(tmp_path, monkeypatch, how):
    """What they do not know may still run, so the folder is not free."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tasks = [task(tmp_path, "train", "12"), task(tmp_path, "certify", "13", kind="certification")]
    made = submission(tmp_path, *tasks)
    state(tmp_path, "12", "finished")
    if how:
        state(tmp_path, "13", how, "certify")
    found = job_states(tmp_path, made)
    assert found == {"12": ("COMPLETED", ""), "13": ("UNKNOWN", "there is no SLURM on this machine")}
    assert not found["13"].over
    with pytest.raises(
        UserError, match="job 13 of an earlier submission may wait or run, and there is no SLURM on this machine"
    ):
        check_free(tmp_path)
    state(tmp_path, "13", "failed", "certify")
    check_free(tmp_path)


@pytest.mark.parametrize("how", ["failed", "finished", "running"])
def test_a_job_has_failed_if_one_of_its_processes_has(tmp_path, monkeypatch, how):
    monkeypatch.setenv("PATH", str(tmp_path))
    made = submission(tmp_path, task(tmp_path, "train", "12"))
    state(tmp_path, "12", how)
    state(tmp_path, "11", "failed", rank=1)
    assert job_states(tmp_path, made)["12"].state == {"failed": "FAILED", "finished": "COMPLETED"}.get(how, "UNKNOWN")
    state(tmp_path, "12", "failed", rank=2)
    assert job_states(tmp_path, made)["12"].state == "FAILED"


def test_the_filters_of_a_user_do_not_count(slurm, tmp_path, monkeypatch):
    """Such as SQUEUE_PARTITION, which would hide jobs, and SCANCEL_INTERACTIVE, which would ask."""
    for name in ("SQUEUE_PARTITION", "SACCT_FORMAT", "SCANCEL_INTERACTIVE", "SLURM_CLUSTERS"):
        monkeypatch.setenv(name, "x")
    for name in ("squeue", "sacct", "scancel"):
        slurm.does(name, f"env > '{slurm.folder}/{name}.env'")
    asked(tmp_path, "12")
    cancel_slurm(["12"])
    for name in ("squeue", "sacct", "scancel"):
        text = (slurm.folder / f"{name}.env").read_text()
        assert "PATH=" in text
        assert not [line for line in text.splitlines() if line.endswith("=x")]


def test_a_folder_that_was_moved_or_that_lies_elsewhere_on_this_machine_still_has_its_jobs(slurm, tmp_path):
    """Which of the two it is cannot be known. Their scripts lie where the submission wrote them."""
    before, after = tmp_path / "before", tmp_path / "after"
    submission(before, task(before, "train", "12"), task(before, "rs", "13"))
    slurm.queue(before, "12|RUNNING|None")
    slurm.says("sacct")
    slurm.says("scancel")
    os.rename(before, after)
    assert job_states(after, Submission.read(after)) == {
        "12": ("RUNNING", ""),
        "13": ("ENDED", "SLURM does not know it any more"),
    }
    cancel(after)
    assert slurm.calls("scancel") == ["12"]


def test_in_a_copy_the_states_are_those_of_the_files(slurm, tmp_path):
    """There SLURM is not asked: its jobs belong to the folder of the submission."""
    before, after = tmp_path / "before", tmp_path / "after"
    submission(before, task(before, "train", "12"), task(before, "certify", "13"), task(before, "rs", "14"))
    state(before, "12", "finished")
    state(before, "13", "running", "certify")
    shutil.copytree(before, after)
    unknown = ("ENDED", "the folder is a copy, made after the submission")
    expected = {"12": ("COMPLETED", ""), "13": unknown, "14": unknown}
    assert job_states(after, Submission.read(after)) == expected
    check_free(after)
    assert cancel(after) == f"{after}: no job waits or runs"
    assert slurm.calls("squeue") == slurm.calls("scancel") == []


@pytest.mark.parametrize(
    "place", ["/other/jobs/x.sh", "{jobs}_of_another/x.sh", "(null)", "", "{jobs}", "x {jobs}/x.sh"]
)
def test_a_foreign_job_of_the_same_id_is_neither_shown_nor_cancelled(slurm, tmp_path, place):
    made = submission(tmp_path, task(tmp_path, "train", "12", "13"))
    script = place.format(jobs=made.jobs)
    slurm.says("squeue", f"12|RUNNING|None|{script}", f"13|PENDING|Priority|{made.jobs}/.submission_file_x.sh")
    slurm.says("sacct", "12|COMPLETED|0:0")
    slurm.says("scancel")
    found = job_states(tmp_path, made)
    assert found == {"12": ("ENDED", "SLURM does not know it any more"), "13": ("PENDING", "Priority")}
    cancel(tmp_path)
    assert slurm.calls("scancel") == ["13"]
    state(tmp_path, "12", "failed")
    assert job_states(tmp_path, made)["12"] == ("FAILED", "")


def test_a_foreign_job_does_not_keep_the_folder_busy(slurm, tmp_path):
    submission(tmp_path, task(tmp_path, "train", "12"))
    slurm.says("squeue", "12|RUNNING|None|/other/jobs/x.sh")
    slurm.says("sacct", "12|RUNNING|0:0")
    check_free(tmp_path)
    assert cancel(tmp_path) == f"{tmp_path}: no job waits or runs"
    assert slurm.calls("scancel") == []


def test_only_a_folder_without_waiting_or_running_jobs_is_free(slurm, tmp_path):
    check_free(tmp_path)
    slurm.queue(tmp_path, "12|PENDING|Priority")
    submission(tmp_path, task(tmp_path, "train", "12"))
    with pytest.raises(UserError, match=f"job 12 of an earlier submission is PENDING: .* --cancel {tmp_path}$"):
        check_free(tmp_path)
    slurm.queue(tmp_path, "12|COMPLETED|None")
    slurm.says("sacct", "12|COMPLETED|0:0")
    check_free(tmp_path)


def test_cancel_names_the_jobs_that_are_left(slurm, tmp_path):
    submission(tmp_path, task(tmp_path, "train", "12"), task(tmp_path, "certify", "13_0", "13_1"))
    slurm.queue(tmp_path, "12|COMPLETED|None", "13_0|RUNNING|None", "13_1|PENDING|None")
    slurm.says("sacct")
    slurm.says("scancel")
    assert cancel(tmp_path) == (
        f"{tmp_path}: told jobs 13_0, 13_1 to stop; to continue, give the same command again, with --resume"
    )
    assert slurm.calls("scancel") == ["13_0 13_1"]
    slurm.queue(tmp_path, *(f"{job}|COMPLETED|None" for job in ("12", "13_0", "13_1")))
    assert cancel(tmp_path) == f"{tmp_path}: no job waits or runs"
    assert len(slurm.calls("scancel")) == 1


def test_what_scancel_says_is_the_error(slurm, tmp_path):
    slurm.says("scancel", error="scancel: error: Kill job error on job id 12:\n Access denied", status=1)
    with pytest.raises(UserError, match=r"^scancel: error: Kill job error on job id 12: Access denied$"):
        cancel_slurm(["12"])
    cancel_slurm([])
    assert slurm.calls("scancel") == ["12"]


def test_jobs_of_slurm_are_not_cancelled_where_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    submission(tmp_path, task(tmp_path, "train", "12"))
    state(tmp_path, "12", "running")
    with pytest.raises(UserError, match="there is no SLURM on this machine"):
        cancel(tmp_path)


@contextmanager
def running(folder):
    """Start a process that ends at SIGTERM, and that looks like one of submitit's for the work in a folder."""
    code = "print(flush=True); import time; time.sleep(60)"
    command = [sys.executable, "-c", code, str(folder / JOBS / LOGS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
        started.stdout.readline()
        yield started
        started.kill()


@pytest.fixture
def process(tmp_path):
    """A process of the local job of this folder."""
    (tmp_path / JOBS / LOGS).mkdir(parents=True)
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def other(tmp_path_factory):
    """A process of the local job of another folder."""
    folder = tmp_path_factory.mktemp("other")
    (folder / JOBS / LOGS).mkdir(parents=True)
    with running(folder) as started:
        yield started


def local(folder, job="4194399"):  # no process has so high a number
    return job_states(folder, submission(folder, task(folder, "train", job), launcher="local"))[job]


@pytest.mark.parametrize(
    ("words", "changes", "expected"),
    [
        ("running", {}, ("RUNNING", "")),
        ("running", {"pid": 1}, ("ENDED", "its process is gone")),  # another process has its number now
        ("running", {"pid": 4194399}, ("ENDED", "its process is gone")),
        ("running", {"job": "7"}, ("ENDED", "its process is gone")),  # of an earlier submission
        ("requeued", {}, ("ENDED", "its process is gone")),
        ("finished", {"pid": 1}, ("COMPLETED", "")),
        ("failed", {"status": 2}, ("FAILED", "exit status 2")),
        ("stopped", {}, ("CANCELLED", "stopped by a signal")),
    ],
)
def test_the_states_of_a_local_job(tmp_path, process, words, changes, expected):
    submission(tmp_path, task(tmp_path, "train", "1"))
    state(tmp_path, how=words, name="local", **{"job": "4194399", "pid": process.pid, **changes})
    assert local(tmp_path) == expected


@pytest.mark.parametrize("how", ["running", "requeued", None])
def test_a_local_job_of_another_machine_cannot_be_seen(tmp_path, kills, how):
    """It may run, so the folder is not free, and nothing here is signalled."""
    submission(tmp_path, task(tmp_path, "train", "4194399"), launcher="local", host="gpu7")
    if how:
        state(tmp_path, "4194399", how, "local")
    (found,) = job_states(tmp_path, Submission.read(tmp_path)).values()
    assert found == ("UNKNOWN", "it was started on gpu7, whose processes cannot be seen from here")
    with pytest.raises(UserError, match=f"{found.reason}: .* or delete {tmp_path}/jobs if it has surely ended$"):
        check_free(tmp_path)
    with pytest.raises(
        UserError, match=f"job 4194399 cannot be cancelled here: {found.reason}: give the command there"
    ):
        cancel(tmp_path)
    assert kills == []
    state(tmp_path, "4194399", "failed", "local")
    check_free(tmp_path)
    assert cancel(tmp_path) == f"{tmp_path}: no job waits or runs"


def test_a_copy_has_no_local_job(tmp_path):
    submission(tmp_path / "a", task(tmp_path / "a", "train", "4194399"), launcher="local", host="gpu7")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (found,) = job_states(tmp_path / "b", Submission.read(tmp_path / "b")).values()
    assert found == ("ENDED", "the folder is a copy, made after the submission")
    check_free(tmp_path / "b")


def test_a_local_job_waits_as_long_as_its_controller_is_there(tmp_path, process):
    assert local(tmp_path, str(process.pid)) == ("PENDING", "")
    assert "told job" in cancel(tmp_path)
    assert process.wait(10) == -15
    assert local(tmp_path, str(process.pid)) == ("ENDED", "its process is gone")


def test_a_process_is_known_however_its_folder_is_spelled(tmp_path, process, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "link", Path(), Path("jobs/..")):
        assert local(folder, str(process.pid)) == ("PENDING", "")


def test_cancel_signals_the_process_of_a_local_job(tmp_path, process):
    (tmp_path / JOBS / "state").mkdir()
    state(tmp_path, "4194399", "running", "local", pid=process.pid)
    cancel_local(tmp_path, 4194399)
    assert process.wait(10) == -15


def test_a_controller_of_another_folder_is_not_signalled(tmp_path, other, kills):
    assert local(tmp_path, str(other.pid)) == ("ENDED", "its process is gone")
    cancel(tmp_path)
    cancel_local(tmp_path, other.pid)
    assert kills == []


@pytest.fixture
def kills():
    """Send no signal; return those that would be sent."""
    found = []
    with pytest.MonkeyPatch.context() as patch:  # which ends before the processes are to be killed
        patch.setattr(os, "kill", lambda pid, number: found.append((pid, int(number))))
        yield found


@pytest.mark.parametrize("pid", [-1, 0, -4194399, "other", "own", 1, True, "1", 10**30])
def test_a_forged_number_of_a_process_is_never_signalled(tmp_path, process, other, kills, pid):
    """The file lies in a folder that others may write: only a process that belongs to this folder gets a signal."""
    (tmp_path / JOBS / "state").mkdir()
    forged = {"other": other.pid, "own": os.getpid()}.get(pid, pid)
    state(tmp_path, "4194399", "running", "local", pid=forged)
    cancel_local(tmp_path, 4194399)
    assert kills == []
    state(tmp_path, str(process.pid), "running", "local", pid=forged)
    cancel_local(tmp_path, process.pid)
    assert kills == [(process.pid, 15)]  # the controller, which passes it on
