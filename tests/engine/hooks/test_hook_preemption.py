import os
import signal

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
