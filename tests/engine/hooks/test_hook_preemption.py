import os
import signal
import time

import pytest

from dmaelab.engine.hooks import PreemptionHook
from dmaelab.utils.errors import Preempted
from dmaelab.utils.signals import STOP


@pytest.fixture
def saves():
    return []


@pytest.fixture
def hook(trainer, saves):
    hook = PreemptionHook(lambda: saves.append(trainer.step))
    trainer.register_hooks([hook])
    hook.before_train()
    yield hook
    hook.close()


@pytest.mark.parametrize("number", STOP)
def test_a_signal_saves_after_the_step_and_stops(hook, step, saves, number):
    step(hook, 3)
    os.kill(os.getpid(), number)
    assert saves == []
    with pytest.raises(Preempted, match="step 4 of 10"):
        step(hook, 4)
    assert saves == [4]


def test_a_signal_in_the_last_step_stops_nothing_and_is_remembered(hook, step, saves):
    assert not hook.signalled
    os.kill(os.getpid(), signal.SIGTERM)
    step(hook, 10)
    assert saves == []
    assert hook.signalled


def test_the_signals_are_caught_from_the_beginning_to_the_end(trainer):
    before = [signal.getsignal(number) for number in STOP]
    hook = PreemptionHook(lambda: None)
    assert [signal.getsignal(number) for number in STOP] == before
    trainer.register_hooks([hook])
    hook.before_train()
    assert all(signal.getsignal(number) not in before for number in STOP)
    hook.close()
    assert [signal.getsignal(number) for number in STOP] == before


def test_ctrl_c_saves_after_the_step_and_is_an_interrupt(hook, step, saves, capfd):
    step(hook, 3)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped at step 4 of 10 by Ctrl-C; the state is saved: continue with"
    ):
        step(hook, 4)
    assert saves == [4]
    hook.close()
    assert capfd.readouterr().err == "stopping after this step; Ctrl-C again ends at once\n"


@pytest.mark.parametrize("first", STOP)
@pytest.mark.parametrize("second", [*STOP, signal.SIGINT])
def test_further_signals_change_nothing(hook, step, saves, first, second):
    for number in (first, second, first):
        os.kill(os.getpid(), number)
    with pytest.raises(Preempted, match="by a signal"):
        step(hook, 4)
    assert saves == [4]


def test_a_signal_after_ctrl_c_wins_in_the_last_step(hook, step):
    os.kill(os.getpid(), signal.SIGINT)
    step(hook, 10)
    assert hook.signalled
    assert hook.by_ctrl_c
    os.kill(os.getpid(), signal.SIGTERM)
    assert not hook.by_ctrl_c


def test_a_second_ctrl_c_ends_at_once(hook, step, saves):
    step(hook, 3)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1.3)

    def insist():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)  # the exception comes from the thread that keeps the time

    with pytest.raises(KeyboardInterrupt, match="interrupted at once, in step 4; nothing is saved: continue with"):
        insist()
    assert saves == []
