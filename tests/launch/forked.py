"""Commands in forked processes, for tests that interrupt many: torch is imported only once, by the test itself."""

import atexit
import importlib
import os
import runpy
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

from dmaelab.utils import cli

for name in ("torch._dynamo", "sklearn.datasets", "dmaelab.launch.report", "dmaelab.launch.pipeline"):
    importlib.import_module(name)  # what commands import, so that it is imported only once

ROOT = Path(__file__).parents[2]


class Command:
    """A tool that runs in a session of its own.

    Args:
        folder: for its working directory and what it prints.
        tool: name of the tool.
        arguments: its command line.
        before: called in the new process, for example to patch something.
    """

    def __init__(self, folder, tool, *arguments, before=lambda: None):
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err, self.begun = (folder / name for name in ("stdout.txt", "stderr.txt", "begun"))
        for path in (self.out, self.err, self.begun):
            path.unlink(missing_ok=True)
        self.status = None
        sys.stdout.flush(), sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork in a process with threads
            self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                status = self._work(tool, [str(argument) for argument in arguments], before)
            finally:
                os._exit(status)

    def _work(self, tool, arguments, before):
        os.setsid()
        for number, path in ((1, self.out), (2, self.err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        sys.argv = [tool, *arguments]
        before()
        status_of = cli._status_of
        cli._status_of = lambda main: (self.begun.touch(), status_of(main))[1]
        atexit._clear()  # what pytest has registered
        try:
            runpy.run_path(str(ROOT / "tools" / tool), run_name="__main__")
        except SystemExit as end:
            return end.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            return 1
        finally:
            atexit._run_exitfuncs()
            sys.stdout.flush(), sys.stderr.flush()
        return 0

    def sleep(self, seconds):
        """Wait some seconds from the moment on when it handles signals."""
        self.until(self.begun.exists)
        time.sleep(seconds)

    def printed(self):
        """Return what it has printed on stdout so far."""
        return self.out.read_text() if self.out.exists() else ""

    def errors(self):
        """Return the lines that it has printed on stderr so far."""
        return self.err.read_text().splitlines() if self.err.exists() else []

    def running(self):
        """Return whether it has not ended yet."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is None

    def until(self, condition, seconds=120):
        """Wait until a condition holds; it must hold before the command ends."""
        deadline = time.monotonic() + seconds
        try:
            while not condition():
                assert self.running(), self.errors()
                assert time.monotonic() < deadline, (self.printed(), self.errors())
                time.sleep(0.02)
        except BaseException:
            self._kill()
            raise

    def send(self, *names, group=False):
        """Send it signals, in this order; with ``group`` to all processes of its session, as a terminal does."""
        for name in names:
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, getattr(signal, name))

    def end(self, seconds=120):
        """Wait for its end; return its status, and the lines on stderr. No process of its session may be left."""
        try:
            deadline = time.monotonic() + seconds
            while self.running():
                assert time.monotonic() < deadline, (self.printed(), self.errors())
                time.sleep(0.02)
            while is_left(self.pid):
                assert time.monotonic() < deadline, "a process is left"
                time.sleep(0.05)
        finally:
            self._kill()
        return self.status, self.errors()

    def _kill(self):
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.status is None:
            os.waitpid(self.pid, 0)


def is_left(session):
    """Return whether a process of a session runs; one that has ended and was not reaped does not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                return True
    return False
