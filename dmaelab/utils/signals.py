"""Catch the signals that ask a run to stop, and restore their old handlers afterwards."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dmaelab.utils.errors import Preempted
from dmaelab.utils.machine import GROUP_BROKE, machine_error
from dmaelab.utils.watchdog import ALL, INTERRUPTED, PREEMPTED, SHORT_GRACE, STOP, WATCHDOG, Terms, interrupted

__all__ = ["ALL", "STOP", "StopSignals", "end_at_signals", "held_back", "let_through", "preempted_by_signals"]


class StopSignals:
    """Calls a function at each of the signals :data:`ALL`, from :meth:`catch` until :meth:`give_back`.

    A signal that arrives while the function runs calls it afterwards. Meanwhile the watchdog ends the process if a
    signal has no effect. A signal that the process ignores (SIGHUP under ``nohup``) stays ignored. A handler that was
    not installed from Python is left alone, because Python could not restore it. Only the main thread may install
    handlers: in another thread both methods do nothing. A process that is forked meanwhile gets the old handlers back.

    Args:
        handler: called as ``handler(signal number, stack frame)`` in the main thread, like one of ``signal.signal``.
        terms: what the watchdog may do.
    """

    _active: list["StopSignals"] = []
    _holding = 0  # blocks of held_back that run
    _held: list[int] = []  # signals that arrived meanwhile
    _decided: int | None = None  # see end_at_signals

    def __init__(self, handler: Callable[[int, FrameType | None], None], terms: Terms | None = None) -> None:
        self._handler = handler
        self._terms = terms or Terms(None, str)
        self._before: dict[int, object] = {}

    def catch(self) -> None:
        """Start to catch the signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        with held_back():
            StopSignals._active.append(self)
            WATCHDOG.enter(self._terms)
            for number in ALL:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)

    def give_back(self) -> None:
        """Restore the handlers that were there before; does nothing if no signal was caught."""
        if self not in StopSignals._active:
            return
        with held_back():
            WATCHDOG.leave(self._terms)
            StopSignals._active.remove(self)
            self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if StopSignals._decided is not None:
            os._exit(StopSignals._decided)
        if StopSignals._holding:
            StopSignals._held.append(number)
        else:
            with held_back():  # a handler that interrupts another one would see what that one has half done
                self._handler(number, frame)

    def _restore(self) -> None:
        if StopSignals._decided is None:
            for number in list(self._before):
                signal.signal(number, self._before.pop(number))  # type: ignore[arg-type]


_forking = threading.local()


def _before_fork() -> None:
    """Hold the signals back: one that reached the new process too early would reach this process's watchdog."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_fork_in_child() -> None:
    """Give the new process the handlers from before, and no watchdog."""
    while StopSignals._active:
        StopSignals._active.pop()._restore()
    WATCHDOG.forget_in_child()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


@contextmanager
def preempted_by_signals(message: str | Callable[[], str], grace: float = SHORT_GRACE) -> Iterator[None]:
    """Raise ``Preempted(message)`` in the block at the first of the signals :data:`STOP`.

    At Ctrl-C it is ``KeyboardInterrupt``, and the words "stopped by a signal" of the message become "interrupted".
    Without this block the signal would end the process silently. Later signals are ignored, so that they cannot
    interrupt the clean-up; only a second Ctrl-C, more than a second after the first one, does.

    The exception can arrive anywhere, also in the middle of a library whose clean-up then fails with an error of its
    own. In place of such an error, the exception that was on its way is raised again, unless the machine failed.

    Args:
        message: what is saved and how to continue, or a function that returns this, called at the signal.
        grace: seconds after which the watchdog ends the process, if the exception could not.
    """

    def words() -> str:
        return message if isinstance(message, str) else message()

    def late() -> str:
        return words().replace("stopped by a signal", "stopped by a signal in the middle of a call", 1)

    def stop(number: int, frame: FrameType | None) -> None:
        if WATCHDOG.stopping and not (number == signal.SIGINT and WATCHDOG.second_ctrl_c()):
            return
        WATCHDOG.stopping = True
        ctrl_c = number == signal.SIGINT
        line = interrupted(words()) if ctrl_c else words()
        if WATCHDOG.commanded and _importing(frame):
            WATCHDOG.end(INTERRUPTED if ctrl_c else PREEMPTED, line)
        kind = KeyboardInterrupt if ctrl_c else Preempted
        raised.append((kind, line))
        raise kind(line)

    raised: list[tuple[type[BaseException], str]] = []
    signals = StopSignals(stop, Terms(grace, late))
    try:
        signals.catch()
        yield
    except Exception as error:
        if (fault := machine_error(error)) and not str(fault).startswith(GROUP_BROKE):
            raise
        if (replaced := _replaced_by(error)) is not None:
            raise replaced from error
        # OmegaConf hides which exception an error has replaced. A command ends soon after a signal in any case, so the
        # signal is the reason. A notebook goes on, and there a later error may have a reason of its own.
        if raised and WATCHDOG.commanded:
            kind, line = raised[-1]
            raise kind(line) from error
        raise
    finally:
        signals.give_back()


def _replaced_by(error: Exception) -> BaseException | None:
    """Return the exception of a signal during which ``error`` was raised; None if there is none."""
    if not (WATCHDOG.signalled or WATCHDOG.stopping):
        return None
    before: BaseException | None = error
    while isinstance(before, Exception):
        before = before.__context__
    return before if isinstance(before, (Preempted, KeyboardInterrupt)) else None


@contextmanager
def held_back() -> Iterator[None]:
    """Handle the signals of the block at its end. A process that is started in it holds them back for ever.

    To block them in this thread is not enough: another thread may get them, and then the handler runs in this one.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    StopSignals._holding += 1
    try:
        yield
    finally:
        StopSignals._holding -= 1
        held: list[int] = []
        if not StopSignals._holding:
            held, StopSignals._held = StopSignals._held, []
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number in held:
            signal.raise_signal(number)


def let_through() -> None:
    """Let the signals through in a process that was started while they were held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)


def end_at_signals(status: int) -> None:
    """Let a signal end this process at once with this exit status: all work is done, and nothing else is to be said.

    It must be called where the signals are caught. They stay caught until the process ends.
    """
    StopSignals._decided = status


def _importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported. An exception that is raised then can get lost in a callback."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
