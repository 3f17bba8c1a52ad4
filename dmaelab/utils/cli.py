"""What the command-line tools share: the code around their main functions, and the option ``--processes``."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from dmaelab.rules.process import tune_process
from dmaelab.utils.errors import Preempted, UserError
from dmaelab.utils.signals import StopSignals

PREEMPTED = 75  # EX_TEMPFAIL: try again


def run_main(main: Callable[[], None]) -> None:
    """Call ``main`` and end the process with an exit status.

    The status is 0 on success; 2 after a ``UserError`` or ``OSError``, which is printed as one line ``error: ...`` on
    stderr without a traceback; 75 if a signal stopped a run that can be resumed; 130 after Ctrl-C. Warnings are also
    printed as one line. Other exceptions are bugs and keep their traceback.
    """
    tune_process()
    sys.path.append(os.getcwd())  # so that plug-ins can be imported from the folder where the tool is started
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        main()
    except (UserError, OSError) as error:  # a wrong path, a permission or a full disk is for the user to fix, too
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Preempted as stop:
        print(stop, file=sys.stderr)
        sys.exit(PREEMPTED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


@contextmanager
def preempted_by_signals(message: str) -> Iterator[None]:
    """Raise ``Preempted(message)`` in the block at the first of the signals :data:`~dmaelab.utils.signals.STOP`.

    Without this the signal would end the process silently. Later signals are ignored, so that they cannot interrupt
    the clean-up.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Preempted(message)

    signals = StopSignals(stop)
    signals.catch()
    try:
        yield
    finally:
        signals.give_back()


def process_count(text: str) -> int | Literal["auto"]:
    """Return the value of the option ``--processes``: a number, or ``"auto"``; raises ``UserError`` for other texts."""
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise UserError(f"--processes is '{text}': give a number, or 'auto' for one per GPU")
    return int(text)
