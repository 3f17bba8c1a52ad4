"""One job in several processes: what they write, how they fail, and how they end."""

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dmaelab.engine import open_certification
from dmaelab.launch.job import CertifyJob
from dmaelab.launch.processes import Processes
from dmaelab.launch.work import Work
from dmaelab.records.folders import read_folders
from dmaelab.records.log import is_locked
from dmaelab.utils.errors import UserError
from dmaelab.utils.signals import ALL

ROOT = Path(__file__).parents[2]
TOOL = str(ROOT / "tools/certify.py")
QUICK = [
    "certify.device=cpu", "certifier.name=sequential", "certifier.n=1000", "certifier.n0=50", "certify.batch_size=128",
    'certify.subset={"count": 12}',
]  # fmt: skip


@pytest.fixture
def run(classifier_run, tmp_path):
    return shutil.copytree(classifier_run, tmp_path / "run")


def rows(folder):
    """Return the rows of a log without their time."""
    table = read_folders([folder])
    place = table.columns.index("time")
    return {index: cells[:place] + cells[place + 1 :] for index, cells in table.rows.items()}


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_one_command_certifies_in_many_processes(run):
    """The same log as one process."""
    folder = open_certification(run, [*QUICK, "certify.name=one"]).run(progress=False)
    command = [sys.executable, TOOL, str(run), *QUICK, "certify.name=two", "--processes", "2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert f"log: {run}/certify/two" in result.stdout
    shards = sorted(path.name for path in (run / "certify/two").glob("shard-*"))
    assert shards == ["shard-000-of-002.tsv", "shard-001-of-002.tsv"]
    assert rows(run / "certify/two") == rows(folder)


@pytest.mark.slow
def test_a_process_that_fails_is_named_and_leaves_the_others(run, capfd):
    """The process that cannot write its shard fails alone, and the same command then does the rest."""
    held = run / "certify/log/shard-001-of-002.tsv"
    certification = open_certification(run, [*QUICK, "certify.name=log"])
    certification.run((0, 2), progress=False)
    launcher = Processes(2)
    work = Work.of(CertifyJob.of(certification.cfg, progress=False), certification.folder)
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as if another process were writing this shard
        with pytest.raises(UserError, match="shard 1 of 2 failed, see above; repeat the command"):
            launcher.launch(work)
    assert capfd.readouterr().err.count("error: ") == 1
    assert len(rows(held.parent)) == 6
    launcher.launch(work)
    assert len(rows(held.parent)) == 12


PARENT = """
import sys
from dmaelab.engine import open_certification
from dmaelab.launch.job import CertifyJob
from dmaelab.launch.processes import Processes
from dmaelab.launch.work import Work

if __name__ == "__main__":
    certification = open_certification(sys.argv[1], sys.argv[2:])
    Processes(2).launch(Work.of(CertifyJob.of(certification.cfg, progress=False), certification.folder))
"""


@pytest.mark.slow
def test_children_end_with_a_parent_that_was_killed(run, tmp_path):
    """Else they would go on, and keep the files of their shards locked."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    slow = [*QUICK, "certifier.n=1000000", "certifier.mode=radius", "certify.name=long"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script, run, *slow], env=environment)
    shards = [run / f"certify/long/shard-00{part}-of-002.tsv" for part in (0, 1)]
    try:
        wait_for(lambda: all(shard.exists() and is_locked(shard) for shard in shards))
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(is_locked(shard) for shard in shards))


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--processes", "2"]])
def test_a_signal_stops_it_with_a_word_and_leaves_whole_rows(run, options):
    command = [sys.executable, TOOL, str(run), *QUICK, "certifier.n=200000", "certifier.mode=radius", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    folder = run / "certify/default"
    try:
        wait_for(lambda: (folder / "header.json").exists() and rows(folder))
    finally:
        process.terminate()
    error = process.communicate(timeout=60)[1]
    assert error.count("stopped by a signal; finished images are in the log: continue with the same command") == 1
    assert process.returncode == 75
    assert 0 < len(rows(folder)) < 12


def training(out, *options, steps=2000):
    """Start a training in two processes, in a session of its own."""
    small = [
        "model.encoder.width=16", "model.encoder.depth=1", "train.device=cpu", "train.precision=fp32",
        "train.eval_images=20", "train.batch_size=32", "train.log_period=1", f"train.max_iter={steps}",
        f"train.out_dir={out}",
    ]  # fmt: skip
    command = [sys.executable, str(ROOT / "tools/train_net.py"), "--config-file", "digits/pretrain", "--processes", "2"]
    return subprocess.Popen([*command, *small, *options], stderr=subprocess.PIPE, text=True, start_new_session=True)


def steps_of(out):
    return len((out / "metrics.jsonl").read_text().splitlines()) if (out / "metrics.jsonl").exists() else 0


def is_running(session):
    """Return whether any process of a session is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def end_of(process):
    """Wait for the end of the command and of the processes that it started; return its status and what it printed."""
    try:
        error = process.communicate(timeout=100)[1]
        wait_for(lambda: not is_running(process.pid), seconds=20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, error


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP])
def test_a_signal_stops_a_group_and_saves_its_state(tmp_path, number):
    process = training(tmp_path / "run")
    try:
        wait_for(lambda: steps_of(tmp_path / "run") > 2)
    finally:
        process.send_signal(number)
    status, error = end_of(process)
    assert status == 75
    assert error.count("stopped at step") == error.count("the state is saved: continue with --resume") == 1
    assert error.count("\n") == 1  # one line for all processes
    assert len(list((tmp_path / "run/checkpoints").glob("step_*.pth"))) == 1
    last = steps_of(tmp_path / "run") + 1
    status, error = end_of(training(tmp_path / "run", "--resume", "--allow-changes", steps=last))
    assert status == 0, error
    assert (tmp_path / "run/model_final.pth").exists()


def processes_of(session):
    """Return how many processes a session has."""
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            count += int(stat.read_text().rpartition(")")[2].split()[3]) == session
    return count


@pytest.mark.slow
def test_a_hang_up_of_all_processes_at_the_start_has_nothing_to_save(tmp_path):
    process = training(tmp_path / "run")
    try:
        wait_for(lambda: processes_of(process.pid) > 2)  # its processes are starting
    finally:
        os.killpg(process.pid, signal.SIGHUP)  # as a terminal that is closed
    status, error = end_of(process)
    assert status == 75
    assert error == "stopped by a signal before there was anything to save: give the same command again\n"
    assert not (tmp_path / "run/config.yaml").exists()


@pytest.mark.slow
def test_ctrl_c_saves_the_step_of_a_group(tmp_path):
    """Each process gets the signal twice: from the terminal and from its parent."""
    process = training(tmp_path / "run")
    try:
        wait_for(lambda: steps_of(tmp_path / "run") > 2)
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    status, error = end_of(process)
    assert status == 130
    notice, reason = error.splitlines()
    assert notice == "stopping after this step; Ctrl-C again ends at once"
    assert re.match("stopped at step .* by Ctrl-C; the state is saved: continue with --resume", reason)
    assert len(list((tmp_path / "run/checkpoints").glob("step_*.pth"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("names", [["SIGTERM"], ["SIGUSR2", "SIGTERM"], ["SIGINT"]], ids="-".join)
def test_a_group_that_waits_is_ended_by_its_watchdogs(tmp_path, monkeypatch, names):
    """One process hangs after a step, and the other one waits for it in a collective operation."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests/engine")]))
    monkeypatch.setenv("DMAELAB_PLUGINS", "signalling")
    hooks = "+hooks=[{'_target_': 'signalling.Hang', 'step': 3, 'rank': 1}]"
    process = training(tmp_path / "run", hooks, "train.stop_grace=2", "train.checkpoint_period=2")
    try:
        wait_for(lambda: steps_of(tmp_path / "run") >= 2)
        time.sleep(5)
    finally:
        for name in names:
            process.send_signal(getattr(signal, name))
    status, error = end_of(process)
    assert status == (130 if names == ["SIGINT"] else 75)
    lines = [line for line in error.splitlines() if not line.startswith("stopping after this step")]
    assert len(lines) == 1, error
    assert "the checkpoint of step 2 is saved: continue with --resume" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["train", "certify"])
def test_signals_while_processes_start(tmp_path, run, kind):
    draw = random.Random(seed := int(os.environ.get("MOMENTS", random.randrange(10**6))))
    print(f"MOMENTS={seed}")
    for _ in range(4):
        name, group = draw.choice(["SIGTERM", "SIGUSR2", "SIGHUP", "SIGINT"]), draw.random() < 0.5
        if kind == "train":
            process = training(tmp_path / "out", "--resume")
        else:
            command = [sys.executable, TOOL, str(run), *QUICK, "certifier.n=200000", "certifier.mode=radius"]
            process = subprocess.Popen(
                [*command, "--processes", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True
            )
        try:
            wait_for(lambda process=process: processes_of(process.pid) > 1)
            time.sleep(draw.uniform(0, 6))
        finally:
            (os.killpg if group else os.kill)(process.pid, getattr(signal, name))
        status, error = end_of(process)
        lines = [line for line in error.splitlines() if not line.startswith("stopping after this step")]
        assert (status, len(lines)) == (130 if name == "SIGINT" else 75, 1), (name, group, error)


MASKS = """
import os, signal
from pathlib import Path
from dmaelab.launch.processes import Processes
from dmaelab.launch.work import Task, Work

class Masks:
    spread = "group"
    def __setstate__(self, state):  # in the new process, before it can handle a signal
        print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), flush=True)
    def __reduce__(self):
        return Masks, (), {"some": "state"}
    def part(self, number, count):
        return self
    def run(self):
        pass

if __name__ == "__main__":
    Processes(2).launch(Work(Path(), (Task("masks", Masks(), Path()),)))
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""


@pytest.mark.slow
def test_signals_wait_until_a_process_can_handle_them(tmp_path):
    """Also those to the first process, with which Python starts its resource tracker."""
    (tmp_path / "masks.py").write_text(MASKS)
    result = subprocess.run([sys.executable, tmp_path / "masks.py"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [str(sorted(ALL)), str(sorted(ALL)), "[]"]


@pytest.mark.slow
def test_a_group_ends_if_one_process_is_killed(tmp_path, monkeypatch):
    """A process that the kernel kills says nothing, so its parent names it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests/engine")]))
    monkeypatch.setenv("DMAELAB_PLUGINS", "signalling")
    node = "'_target_': 'signalling.Signal', 'step': 3, 'name': 'SIGKILL', 'rank': 1"
    status, error = end_of(training(tmp_path / "run", f"+hooks=[{{{node}}}]"))
    assert status == 71
    *before, last = error.splitlines()
    end = r"\(1: killed by SIGKILL, perhaps because the memory was full\); then give the same command again"
    assert re.fullmatch(rf"error: process(es 0,)? 1 of 2 failed, see above {end} \(a training: with --resume\)", last)
    # The other process may have failed as well, when its connection was closed.
    broken = "error: the connection to another process of the group broke "
    assert [line for line in before if not line.startswith(broken)] == []
    assert len(before) <= 1
