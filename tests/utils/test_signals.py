import os
import signal

import pytest

from dmaelab.utils.signals import STOP, StopSignals


@pytest.fixture
def heard():
    return []


@pytest.fixture
def signals(heard):
    signals = StopSignals(lambda number, frame: heard.append(number))
    yield signals
    signals.give_back()


def handlers():
    return [signal.getsignal(number) for number in STOP]


def test_each_signal_calls_the_handler(signals, heard):
    signals.catch()
    for number in STOP:
        os.kill(os.getpid(), number)
    assert heard == list(STOP)


def test_a_signal_does_not_interrupt_the_handler_of_another():
    heard = []

    def handler(number, frame):
        heard.append(number)
        if number == signal.SIGTERM:
            signal.raise_signal(signal.SIGUSR2)
        heard.append(-number)

    signals = StopSignals(handler)
    signals.catch()
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signals.give_back()
    assert heard == [signal.SIGTERM, -signal.SIGTERM, signal.SIGUSR2, -signal.SIGUSR2]


def test_the_handlers_from_before_come_back(signals, heard):
    mine = []
    first = signal.signal(signal.SIGUSR2, lambda number, frame: mine.append(number))
    try:
        before = handlers()
        signals.catch()
        os.kill(os.getpid(), signal.SIGUSR2)
        signals.give_back()
        assert handlers() == before
        os.kill(os.getpid(), signal.SIGUSR2)
        assert (heard, mine) == ([signal.SIGUSR2], [signal.SIGUSR2])
    finally:
        signal.signal(signal.SIGUSR2, first)


def test_giving_back_again_or_without_catching_does_nothing(signals):
    before = handlers()
    signals.give_back()
    assert handlers() == before
    signals.catch()
    signals.give_back()
    other = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        signals.give_back()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, other)


def test_a_handler_that_python_cannot_restore_is_left_alone(signals, monkeypatch):
    before = signal.getsignal(signal.SIGHUP)
    with monkeypatch.context() as patch:  # as for a handler that was installed from C
        patch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGHUP else signal.SIG_DFL)
        signals.catch()
    assert signal.getsignal(signal.SIGHUP) is before
    assert signal.getsignal(signal.SIGTERM) is not before
    signals.give_back()


def test_a_signal_that_is_ignored_stays_ignored(signals, heard):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals.catch()
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        signals.give_back()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
