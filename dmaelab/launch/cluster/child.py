"""A process that does the work of a job, and the process that started it and waits for it."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import IO

from dmaelab.utils.watchdog import STOP


class Child:
    """Starts a process, passes the signals to stop on to it, and keeps the last line that it prints on stderr.

    The signals are caught when the object is created. One that arrives before the process has started is passed on when
    it has. (SLURM signals the process itself as well; it reacts only once.)

    Attributes:
        signals: numbers of the signals that have arrived.
        line: the line on stderr that says why it failed: the last one that begins with ``error:``, without this word,
            or else the last one.
    """

    def __init__(self) -> None:
        self.signals: set[int] = set()
        self._last = self._error = ""
        self._process: subprocess.Popen[bytes] | None = None
        for number in STOP:
            signal.signal(number, self._pass_on)

    def run(self, work: bytes, environment: Mapping[str, str]) -> int:
        """Do the work in a new process.

        Args:
            work: pickled callable without arguments.
            environment: variables of the process.

        Returns:
            Its exit status; -n if signal n killed it.
        """
        command = [sys.executable, "-u", "-m", "dmaelab.launch.cluster.child"]
        # Until the process is stored, signals wait: else one could be lost between the start and the assignment.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        try:
            self._process = process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number in tuple(self.signals):
            self._send(number)
        assert process.stdin is not None
        assert process.stderr is not None
        # A process of its own that it has left behind may keep stderr open. It must not keep this one waiting.
        reader = threading.Thread(target=self._copy, args=(process.stderr,), daemon=True)
        reader.start()
        with suppress(BrokenPipeError):  # it has ended; its status says why
            process.stdin.write(len(work).to_bytes(8, "big") + work)
            process.stdin.flush()  # stays open: its end tells the process that this one has ended
        status = process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
        reader.join(5.0)
        return status

    @property
    def line(self) -> str:
        """See the attributes."""
        return self._error or self._last

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.signals.add(number)
        self._send(number)

    def _send(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _copy(self, stderr: IO[bytes]) -> None:
        """Copy what the process prints on stderr to that of this process, line by line."""
        with stderr:
            for line in stderr:
                with suppress(OSError):  # such as a full disk; the process must not wait until somebody reads on
                    os.write(2, line)
                text = line.decode(errors="replace").strip()
                self._last = text or self._last
                if text.startswith("error: "):
                    self._error = text.removeprefix("error: ")


def main() -> None:
    """Do the work that the parent process sends."""
    work = _read(int.from_bytes(_read(8), "big"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pickle.loads(work)()


def _read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data


def _end_with_parent() -> None:
    """End this process when its parent ends: it would go on where nobody watches it, and keep its files locked."""
    from dmaelab.utils.watchdog import WATCHDOG

    os.read(0, 1)
    WATCHDOG.end(1)


if __name__ == "__main__":
    main()
