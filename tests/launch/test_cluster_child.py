"""The process that does the work of a job: its status, its last line, its signals, and that it never goes on alone."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from fake_cluster import code

from dmaelab.launch.cluster.child import Child

WAIT = "signal.sigwait([signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP])"  # they are blocked at first
SCRIPT = """
import os, sys
from dmaelab.launch.cluster.child import Child
child = Child()
status = child.run(bytes.fromhex(sys.argv[1]), os.environ)
print(status, child.line, flush=True)
"""


@contextmanager
def other(*lines, **options):
    """Start a process that lets its child run these lines, and that prints status and last line."""
    command = [sys.executable, "-c", SCRIPT, code(*lines).hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def run(*lines):
    """Return the status and the last line of a work in a child of this process."""
    child = Child()
    return child.run(code(*lines), os.environ), child.line


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("pass", 0),
        ("sys.exit(71)", 71),
        ("raise KeyError", 1),
        ("os._exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.abort()", -6),
    ],
)
def test_the_status_is_that_of_the_process(line, status):
    assert run(line)[0] == status


def test_the_last_line_on_stderr_is_kept_and_all_are_copied(capfd):
    lines = [
        "print('a', file=sys.stderr)",
        "print('error: b\\xff', file=sys.stderr)",
        "print('\\n  \\n', file=sys.stderr)",
    ]
    assert run(*lines, "print('on stdout')") == (0, "b\xff")
    assert capfd.readouterr() == ("on stdout\n", "a\nerror: b\xff\n\n  \n\n")


def test_an_error_is_kept_though_other_lines_follow():
    lines = ["error: first", "error: a cat", "error:none", "an error: no", "3 warnings"]
    assert run(*(f"print({line!r}, file=sys.stderr)" for line in lines)) == (0, "a cat")


def test_what_is_no_text_is_kept_too(capfd):
    assert run("os.write(2, b'\\xff\\xfe end')")[1] == "\ufffd\ufffd end"


def test_the_work_gets_its_environment():
    child = Child()
    assert child.run(code("sys.exit(len(os.environ['OF_THE_JOB']))"), {**os.environ, "OF_THE_JOB": "1234567"}) == 7
    assert "OF_THE_JOB" not in os.environ


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR2", "SIGHUP"])
def test_signals_are_passed_on(name):
    child = Child()
    number = getattr(signal, name)
    assert child.run(code(f"os.kill(os.getppid(), {number})", f"sys.exit({WAIT})"), os.environ) == number
    assert child.signals == {number}


def test_a_signal_from_before_the_start_is_passed_on():
    child = Child()
    signal.raise_signal(signal.SIGUSR2)
    assert child.run(code(f"sys.exit({WAIT})"), os.environ) == signal.SIGUSR2


def test_a_signal_after_the_end_goes_nowhere():
    child = Child()
    assert child.run(code(), os.environ) == 0
    signal.raise_signal(signal.SIGTERM)
    assert child.signals == {signal.SIGTERM}


def test_a_process_that_ends_at_once_is_no_error_of_its_own(capfd):
    child = Child()
    assert child.run(code(f"text = {'x' * 10**6!r}"), {"PYTHONHOME": "/nowhere"}) == 1
    assert "encodings" in child.line or "Python" in capfd.readouterr().err


def test_the_work_ends_with_the_process_that_watches_it():
    with other("print('begun', flush=True)", "time.sleep(60)", stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "begun\n"
        process.kill()
        begun = time.monotonic()
        assert process.stdout.read() == ""  # the end: nobody has the pipe any more
        assert time.monotonic() - begun < 20


def test_a_process_that_dies_before_it_sends_the_work_leaves_none():
    command = [sys.executable, "-m", "dmaelab.launch.cluster.child"]
    for sent in (b"", b"\0\0\0", (100).to_bytes(8, "big") + b"x" * 99):
        assert subprocess.run(command, input=sent, capture_output=True).returncode == 1


def test_a_full_disk_under_the_log_does_not_stop_the_work():
    with open("/dev/full", "w") as full:
        lines = ["for number in range(20000): print('line', number, file=sys.stderr)", "sys.exit(4)"]
        with other(*lines, stderr=full) as process:
            assert process.communicate(timeout=30)[0] == "4 line 19999\n"


def test_a_process_that_is_left_behind_is_not_waited_for():
    lines = [
        "left = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, start_new_session=True)",
        "print(left.pid, flush=True)",
        "sys.exit(3)",
    ]
    with other(*lines, stderr=subprocess.PIPE) as process:
        left = int(process.stdout.readline())
        try:
            assert process.communicate(timeout=30)[0] == "3 \n"
        finally:
            os.kill(left, signal.SIGKILL)
