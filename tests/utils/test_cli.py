import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from dmaelab.utils.cli import preempted_by_signals, run_main
from dmaelab.utils.errors import ConfigError, MachineError, Preempted

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_format(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConfigError("sigma is -1: give a number"), 2, "error: sigma is -1: give a number\n"),
        (MachineError("the memory is full"), 71, "error: the memory is full\n"),
        (OSError(5, "Input/output error", "/a"), 71, "error: /a: the disk or its server failed, or is full: check it"
         " (dmesg), or take another one\n"),
        (RuntimeError("CUDA error: out of memory\nmore"), 71, "error: the GPU is out of memory: free memory on it"
         " (nvidia-smi shows who holds it)\n"),
        (MemoryError(), 71, "error: the machine is out of memory: free memory\n"),
        (OSError(2, "No such file or directory", "/a"), 2, "error: [Errno 2] No such file or directory: '/a'\n"),
        (OSError(13, "Permission denied", "/a"), 2, "error: [Errno 13] Permission denied: '/a'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)  # fmt: skip
def test_errors_of_the_user_are_one_line(capsys, error, status, text):
    with pytest.raises(SystemExit) as end:
        run_main(lambda: _raise(error))
    assert end.value.code == status
    assert capsys.readouterr().err == text


def test_success_and_defects():
    with pytest.raises(SystemExit) as end:
        run_main(lambda: None)
    assert end.value.code == 0
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="device-side assert"):
        run_main(lambda: _raise(RuntimeError("CUDA error: device-side assert triggered")))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "warning: the disk is full: make room on it\n"),
        (KeyError(), "Traceback"),
    ],
)
def test_a_thread_that_the_machine_ends_prints_one_line(capsys, error, text):
    def main():
        thread = threading.Thread(target=lambda: _raise(error))
        thread.start()
        thread.join()

    with pytest.raises(SystemExit):
        run_main(main)
    shown = capsys.readouterr().err
    assert shown == text if text != "Traceback" else text in shown


def test_warnings_are_one_line(capsys):
    def main():
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            print(warnings.formatwarning("the log is incomplete", UserWarning, "file.py", 3), end="")

    with pytest.raises(SystemExit):
        run_main(main)
    assert capsys.readouterr().out == "warning: the log is incomplete\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP])
def test_signals_become_an_exception_inside_and_what_they_were_after(number):
    before = signal.getsignal(number)
    with pytest.raises(Preempted, match="come back"), preempted_by_signals("come back"):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_cut_short_what_the_first_one_began():
    done = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            done.append("all")

    with pytest.raises(Preempted), preempted_by_signals("come back"):
        work()
    assert done == ["all"]


def test_ignored_signals_stay_ignored_as_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with preempted_by_signals("come back"):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_is_not_taken_for_the_failure_of_what_it_interrupts():
    def work():
        with contextlib.suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted), preempted_by_signals("come back"):
        work()


@pytest.mark.parametrize("buffered", [False, True])
def test_a_reader_that_has_seen_enough_ends_a_command_quietly(buffered):
    code = "from dmaelab.utils.cli import run_main\nrun_main(lambda: print('x' * 200_000))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if not buffered:
        environment["PYTHONUNBUFFERED"] = "1"
    command = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with command:
        command.stdout.read(1)
        command.stdout.close()
        errors = command.stderr.read()
    assert (command.returncode, errors) == (0, b"")


def test_a_full_disk_under_the_output_is_told(tmp_path):
    code = (
        "import resource, signal\nfrom dmaelab.utils.cli import run_main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "run_main(lambda: print('x' * 100))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open(tmp_path / "out.txt", "w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.stderr.startswith("error: the file would exceed the limit")
    assert (done.returncode, done.stderr.count("\n")) == (71, 1)
