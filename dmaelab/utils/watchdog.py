"""A thread that hears of stop signals at once, and ends a process that does not end by itself.

Python runs the handler of a signal in the main thread, between two steps of the interpreter. If the main thread waits
in a call that does not return (another process in a collective operation, a file on a dead network mount), the handler
does not run, or it sets a flag that nobody reads. But the part of Python that is written in C passes the number of each
signal to a socket at once (``signal.set_wakeup_fd``). The thread reads this socket. If the process is still in the same
block of code when its grace time is over, the thread prints one line and ends the process with ``os._exit``.

The operating system may deliver a signal to any thread, such as one of torch's. Then it does not interrupt the call in
which the main thread waits, and the handler would run only after this call. So the watchdog interrupts the call.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

STOP = (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
"""The signals that schedulers and closing terminals send to end a run."""

ALL = (*STOP, signal.SIGINT)
"""The same, and Ctrl-C."""

PREEMPTED = 75  # EX_TEMPFAIL: try again
INTERRUPTED = 130  # as shells report Ctrl-C

SHORT_GRACE = 5.0
"""Seconds that a block of code gets in which nothing has to be saved."""

_NUDGE = signal.SIGURG  # says nothing; it only interrupts the call in which the main thread waits
_AGAIN = 0.1  # seconds between two signals that the thread sends to the main thread
# A second Ctrl-C within so many seconds counts as the same: a launcher passes on what a terminal sends, too.
_SAME = 1.0


class Terms(NamedTuple):
    """What the watchdog may do to a block of code.

    Attributes:
        grace: seconds from the first signal to the end of the process; None waits for ever.
        words: returns the line to print. It is called in the thread and must not read files, which may be what hangs.
        notice: line to print at once after the first Ctrl-C; empty for none.
        at_once: seconds from the second Ctrl-C to the end of the process.
    """

    grace: float | None
    words: Callable[[], str]
    notice: str = ""
    at_once: float = 2.0


class Watchdog:
    """Watches nested blocks of code, each with its own :class:`Terms`; the innermost ones count.

    Each block gets its own grace time: when a block ends after a signal, the time starts again for the block around it.
    Without any block there is no thread. All methods but :meth:`end` are for the main thread.

    Attributes:
        print_line: prints the last line, by default on stderr. A process of a launcher sends it to its parent.
        commanded: whether the process runs a command. Only then Ctrl-C may end it without an exception. In a notebook
            it must not end the whole session.
        stopping: whether the main thread has begun to react to a signal.
    """

    def __init__(self) -> None:
        self.print_line: Callable[[str], None] = to_stderr
        self.commanded = False
        self._blocks: list[Terms] = []
        self._pauses = 0
        self._write_end: socket.socket | None = None
        self._nudged_before: Callable[..., object] | int | None = None  # the handler of _NUDGE
        self._forget()

    def _forget(self) -> None:
        self.stopping = self._second_ctrl_c = self._second_handled = self._printed = False
        self._noticed = threading.Lock()  # held from the first notice on
        self._received: set[int] = set()
        self._nudges = 0  # still to be sent to the main thread
        self._since = self._interrupted = 0.0

    @property
    def signalled(self) -> bool:
        """Whether a signal has asked this process to stop."""
        return bool(self._received)

    @property
    def by_ctrl_c(self) -> bool:
        """Whether Ctrl-C, and no other signal, asks this process to stop."""
        return self._received == {signal.SIGINT}

    def second_ctrl_c(self) -> bool:
        """Return True once if Ctrl-C was pressed a second time: the handler must then raise ``KeyboardInterrupt``."""
        new = self._second_ctrl_c and not self._second_handled
        self._second_handled = self._second_handled or new
        return new

    def notify(self) -> None:
        """Print the notice of the innermost block, unless it was printed before."""
        terms = self._terms()
        if terms is not None and terms.notice and self._noticed.acquire(blocking=False):
            to_stderr(terms.notice)

    def enter(self, terms: Terms) -> None:
        """Watch the block of code that begins here."""
        self._blocks.append(terms)
        if self._write_end is None:
            self._start()

    def leave(self, terms: Terms) -> None:
        """End the block that was entered with these terms."""
        self._blocks.remove(terms)
        if self._blocks:
            self._restart()
        else:
            self._finish()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Let the block finish however long it takes, unless Ctrl-C is pressed twice; then restart the grace time."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            self._restart()

    def end(self, status: int, line: str = "") -> None:
        """End this process at once, and its child processes with it: nothing else would end a worker that hangs."""
        for child in multiprocessing.active_children():
            with suppress(Exception):  # it has just ended, or is a child of the process that this one was forked from
                if child.is_alive():
                    child.kill()
        # In a thread, because what reads the output may hang, too, or the main thread may be in the middle of a print.
        threading.settrace(None)  # see _watch
        threading.setprofile(None)
        last = threading.Thread(target=self._print_last, args=(line,), daemon=True)
        last.start()
        last.join(2.0)
        os._exit(status)

    def _print_last(self, line: str) -> None:
        self.print_reason(line)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()

    def print_reason(self, line: str) -> None:
        """Say why the process ends, unless it was said before."""
        if line and not self._printed:
            self._printed = True
            with suppress(OSError):  # the parent, which gets the line, has ended
                self.print_line(line)

    def forget_in_child(self) -> None:
        """Stop watching, in a process that was forked: it shares the socket but not the thread."""
        if self._write_end is not None:
            signal.set_wakeup_fd(-1)
            self._restore_handler()
            self._write_end, self._blocks = None, []
            self._forget()

    def _start(self) -> None:
        self._read_end, self._write_end = socket.socketpair()
        self._write_end.setblocking(False)
        self._before = signal.set_wakeup_fd(self._write_end.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, args=(self._read_end,), name="watchdog", daemon=True)
        self._thread.start()
        self._nudged_before = signal.getsignal(_NUDGE)
        if self._nudged_before is not None:  # Python could not restore a handler that was not installed from Python
            signal.signal(_NUDGE, lambda *_: None)

    def _finish(self) -> None:
        assert self._write_end is not None
        signal.set_wakeup_fd(self._before)
        self._write_end.close()  # the thread reads the end of the stream, and returns
        self._write_end = None
        self._thread.join()
        self._restore_handler()
        self._forget()

    def _restore_handler(self) -> None:
        """Give the program its own handler of :data:`_NUDGE` back."""
        if self._nudged_before is not None:
            signal.signal(_NUDGE, self._nudged_before)
        self._nudged_before = None

    def _restart(self) -> None:
        """Give the block that runs now its whole grace time."""
        self._since = time.monotonic()
        if self._received and self._write_end is not None:
            with suppress(BlockingIOError):
                self._write_end.send(b"\0")

    def _watch(self, receiver: socket.socket) -> None:
        """Read the numbers of signals until the other end is closed; 0 means that the time was restarted."""
        # Under a debugger, a profiler or coverage.py, Python 3.11 repeats the first instruction of a function in this
        # thread for as long as a signal waits for the main thread. So this thread is not traced.
        sys.settrace(None)
        sys.setprofile(None)
        with receiver:
            while True:
                left = self._left()
                if left is not None and left <= 0:
                    self._expire()
                # The handler may have run before this thread knew that this is the second Ctrl-C, so it must run again.
                again = self._second_ctrl_c and not self._second_handled
                receiver.settimeout(_AGAIN if again or self._nudges else left)
                try:
                    numbers = receiver.recv(4096)
                except TimeoutError:
                    if again or self._nudges:
                        self._nudges = max(0, self._nudges - 1)
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT if again else _NUDGE)
                    continue
                if not numbers:
                    return
                self._receive(set(numbers) & set(ALL))

    def _left(self) -> float | None:
        """Return the seconds until the process must be ended; None if there is no such time."""
        terms = self._terms()
        if not self._received or terms is None or (self.by_ctrl_c and not self.commanded):
            return None
        grace = terms.grace
        if self._second_ctrl_c:
            grace = terms.at_once
        elif self._pauses:
            grace = None
        return None if grace is None else self._since + grace - time.monotonic()

    def _terms(self) -> Terms | None:
        """Return the terms of the innermost block. The main thread may end the block at any moment."""
        return next(reversed(list(self._blocks)), None)

    def _receive(self, numbers: set[int]) -> None:
        now = time.monotonic()
        if numbers:
            self._nudges = 2  # the first one may come just before the main thread begins to wait
        if numbers and not self._received:
            self._since = now
        if signal.SIGINT in numbers:
            if signal.SIGINT not in self._received:
                self._interrupted = now
                self.notify()
            elif now - self._interrupted > _SAME and not self._second_ctrl_c:
                self._second_ctrl_c, self._since = True, now
        self._received |= numbers

    def _expire(self) -> None:
        status = INTERRUPTED if self.by_ctrl_c else PREEMPTED
        terms, line = self._terms(), "stopped by a signal: give the same command again"
        with suppress(Exception):  # the main thread may change at any moment what the words are about
            line = terms.words() if terms is not None else line
        self.end(status, interrupted(line) if self.by_ctrl_c else line)


def interrupted(line: str) -> str:
    """Return what a line about a stop signal becomes after Ctrl-C."""
    return line.replace("stopped by a signal", "interrupted", 1)


def to_stderr(line: str) -> None:
    """Print a line on stderr, from any thread and any signal handler; in a group of processes only the first prints."""
    if os.environ.get("RANK", "0") != "0":
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except RuntimeError:  # the handler of a signal has interrupted another print
        os.write(2, f"{line}\n".encode())
    except (OSError, ValueError):  # a terminal that was closed
        pass


WATCHDOG = Watchdog()
"""The watchdog of this process: a process has only one set of signal handlers."""
