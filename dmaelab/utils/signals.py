"""Catch the signals that ask a run to stop, and restore their old handlers afterwards."""

import signal
from collections.abc import Callable
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
"""The signals that schedulers and closing terminals send to end a run."""


class StopSignals:
    """Calls a function at each of the signals :data:`STOP`, from :meth:`catch` until :meth:`give_back`.

    A signal that the process ignores (SIGHUP under ``nohup``) stays ignored. A handler that was not installed from
    Python is left alone, because Python could not restore it.

    Args:
        handler: called as ``handler(signal number, stack frame)`` in the main thread, like one of ``signal.signal``.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler
        self._before: dict[int, object] = {}

    def catch(self) -> None:
        """Start to catch the signals. This must be called in the main thread."""
        for number in STOP:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._handler)

    def give_back(self) -> None:
        """Restore the handlers that were there before; does nothing if no signal was caught."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]
