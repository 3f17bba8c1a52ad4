"""Signals to a command that has started several processes: each gets them, and one of them says why it stopped."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType

from dmaelab.utils.cli import INTERRUPTED, PREEMPTED
from dmaelab.utils.errors import Preempted
from dmaelab.utils.signals import StopSignals
from dmaelab.utils.watchdog import Terms, interrupted


class Relay:
    """Passes each signal on to the processes, inside a ``with`` block, and reads what they say.

    A process says "" when it has begun to handle signals, and later why it was stopped. A process that gets a signal
    before it has begun has nothing to save, so it is killed. The processes end by themselves, each with its own
    watchdog, so this process waits for them without a limit.

    Args:
        children: the processes; they need not be started.
        receivers: the connections on which each process says something.
        together: whether the processes can only work together. Then all are killed if one has not begun.

    Attributes:
        signalled: number of the first signal; 0 if there was none.
        dropped: numbers of the processes that were killed before they had begun.
    """

    ENDED = "stopped by a signal; what was saved is kept: give the same command again (a training: with --resume)"

    def __init__(self, children: Sequence[BaseProcess], receivers: Sequence[Connection], together: bool) -> None:
        self.signalled = 0
        self.dropped: set[int] = set()
        self._children, self._receivers, self._together = children, receivers, together
        self._messages: list[list[str]] = [[] for _ in children]
        self._signals = StopSignals(self._pass_on, Terms(None, lambda: self.ENDED, at_once=5.0))

    def __enter__(self) -> "Relay":
        self._signals.catch()
        return self

    def __exit__(self, *exception: object) -> None:
        self._signals.give_back()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.signalled = self.signalled or number
        self._read_messages()
        late = [place for place, said in enumerate(self._messages) if not said]
        for place, child in enumerate(self._children):
            if not child.is_alive():
                continue
            if place in late or (self._together and late):
                self.dropped.add(place)
                child.kill()
            elif child.pid is not None:
                os.kill(child.pid, number)

    def raise_stop(self, default: str) -> None:
        """Raise ``Preempted`` or ``KeyboardInterrupt`` if a signal has stopped the job, else return.

        Args:
            default: the message if no process has said one.
        """
        codes = [child.exitcode for child in self._children]
        if not self.signalled and not any(codes):
            return
        self._read_messages()
        message = next((text for said in self._messages for text in said if text), default)
        only_ctrl_c = self.signalled == signal.SIGINT if self.signalled else INTERRUPTED in codes
        if only_ctrl_c and PREEMPTED not in codes:
            raise KeyboardInterrupt(interrupted(message))
        raise Preempted(message)

    def _read_messages(self) -> None:
        for said, receiver in zip(self._messages, self._receivers, strict=True):
            with suppress(EOFError, OSError):  # it was killed while it was sending
                while receiver.poll():
                    said.append(receiver.recv())
