import contextlib
import os
import signal
import warnings

import pytest

from dmaelab.utils.cli import preempted_by_signals, run_main
from dmaelab.utils.errors import ConfigError, Preempted


@pytest.fixture(autouse=True)
def _own_format(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConfigError("sigma is -1: give a number"), 2, "error: sigma is -1: give a number\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
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
