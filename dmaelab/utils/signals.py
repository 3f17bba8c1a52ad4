"""The signals that ask a run to stop, and how they are caught and given back."""

import signal
from collections.abc import Callable
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
"""What schedulers and closing terminals send to a run that is to end."""


class StopSignals:
    """Calls a function at each of the signals :data:`STOP`, from :meth:`catch` until :meth:`give_back`.

    A signal that the process ignores (SIGHUP under ``nohup``) stays ignored.

    Args:
        handler: called as a handler of ``signal.signal``, in the main thread.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler
        self._before: dict[int, object] = {}

    def catch(self) -> None:
        """Begin to catch the signals; only the main thread may do that."""
        for number in STOP:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handler)

    def give_back(self) -> None:
        """Restore the handlers that were there before; does nothing if no signal was caught."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]
