"""What every command-line tool does around its main function."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dmaelab.rules.process import tune_process
from dmaelab.utils.errors import Preempted, UserError
from dmaelab.utils.signals import StopSignals

PREEMPTED = 75  # EX_TEMPFAIL: try again


def run_main(main: Callable[[], None]) -> None:
    """Call ``main`` and end the process: errors of the user's input are one line, without a traceback.

    Exit status 0; 2 after a ``UserError``, printed as ``error: ...`` on stderr; 75 when a
    signal stopped a run that can be resumed; 130 after Ctrl-C.
    Warnings are one line as well. Other exceptions keep their traceback: they are defects.
    """
    tune_process()
    sys.path.append(os.getcwd())  # plug-ins and modules of one's own, from the folder where the tool is started
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # type: ignore[assignment]
    try:
        main()
    except (UserError, OSError) as error:  # a path, a permission or a full disk is the user's to mend as well
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
    """Raise ``Preempted(message)`` inside at the first of the signals :data:`~dmaelab.utils.signals.STOP`.

    Without this they would end the process without a word. Later signals do nothing, so that they cannot cut short
    what is done on the way out.
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
