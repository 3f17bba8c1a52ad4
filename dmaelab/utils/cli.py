"""What the command-line tools share: the code around their main functions, and options that several of them have."""

import argparse
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Literal

from dmaelab.rules.process import tune_process
from dmaelab.utils.errors import Preempted, UserError
from dmaelab.utils.machine import machine_error
from dmaelab.utils.signals import end_at_signals
from dmaelab.utils.signals import preempted_by_signals as preempted_by_signals
from dmaelab.utils.watchdog import INTERRUPTED as INTERRUPTED
from dmaelab.utils.watchdog import PREEMPTED as PREEMPTED
from dmaelab.utils.watchdog import WATCHDOG

WRONG_INPUT = 2
MACHINE_FAILED = 71  # EX_OSERR

_SAFE_PATH = "PYTHONSAFEPATH"
_GIVE_AGAIN = "stopped by a signal: give the same command again"


def run_main(main: Callable[[], None]) -> None:
    """Call ``main`` and end the process with the status that :func:`exit_status` returns."""
    interactive = hasattr(sys, "ps1") or sys.flags.interactive  # such as %run of IPython
    sys.exit(exit_status(main, is_last=not interactive))


def exit_status(main: Callable[[], None], is_last: bool = False) -> int:
    """Call ``main`` and return the exit status of the command.

    The status is 0 on success; 2 after a ``UserError`` or ``OSError``, which is printed as one line ``error: ...`` on
    stderr without a traceback; 71 after a fault of the machine (:mod:`dmaelab.utils.machine`), likewise; 75 if a signal
    stopped the command, and it can be given again; 130 after Ctrl-C. Warnings are also printed as one line. Other
    exceptions are bugs and keep their traceback.

    From here on, a signal ends the command with one line, also while torch is imported. If the command does not end by
    itself, the watchdog ends it.

    Args:
        main: does the work.
        is_last: whether the process ends after it. Then a signal that arrives when the status is decided ends the
            process at once, with this status.
    """
    tune_process()
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    threading.excepthook = _thread_failed
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"  # processes started from here find no modules in the working directory
    WATCHDOG.commanded = True
    try:
        with preempted_by_signals(_GIVE_AGAIN):
            status = _status_of(main)
            if is_last:
                end_at_signals(status)
            return status
    except (Preempted, KeyboardInterrupt) as stop:  # while the block began, or Ctrl-C again while a line was printed
        return _stopped(stop)
    finally:
        WATCHDOG.commanded = False
        if before is None:
            os.environ.pop(_SAFE_PATH, None)


def _status_of(main: Callable[[], None]) -> int:
    try:
        try:
            with preempted_by_signals(_GIVE_AGAIN):  # a block of its own: it replaces errors before they are printed
                main()
                _flush_output()
        finally:
            WATCHDOG.stopping = True  # what comes now is over at once, and a signal must not interrupt it
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        return 0
    except Exception as error:
        fault = machine_error(error)
        if fault is None and not isinstance(error, (UserError, OSError)):  # OSError: such as a wrong path
            raise
        print(f"error: {fault or error}", file=sys.stderr)
        return WRONG_INPUT if fault is None else MACHINE_FAILED
    except (Preempted, KeyboardInterrupt) as stop:
        return _stopped(stop)
    return 0


def _stopped(stop: BaseException) -> int:
    """Say why the command was stopped, unless it was said before; return its exit status."""
    WATCHDOG.print_reason(str(stop) or "interrupted")
    return PREEMPTED if isinstance(stop, Preempted) else INTERRUPTED


def _flush_output() -> None:
    """Write what was printed now: after the status is decided, a full disk could no longer be told."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would try it again when it ends
        raise


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """Print a fault of the machine in a thread, such as that of TensorBoard's writer, as one line."""
    fault = machine_error(args.exc_value) if args.exc_value is not None else None
    if fault is None:
        threading.__excepthook__(args)
    else:
        print(f"warning: {fault}", file=sys.stderr)


def plugin_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--plugin MODULE``, which may be repeated, to the parser of a tool that takes no overrides."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="first import this module, which you trust and which defines what a run or a log names",
    )


def launcher_options(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--launcher NAME`` and ``--wait`` to the parser of a tool."""
    parser.add_argument(
        "--launcher",
        default="none",
        metavar="NAME",
        help="who does the work: 'none' (this command), 'local' (a process in the background of this machine), 'slurm'"
        " (jobs of SLURM), or the dotted name of a class of your own",
    )
    parser.add_argument(
        "--wait", action="store_true", help="with --launcher local or slurm: wait for the work, and show its progress"
    )


def process_count(text: str | None) -> int | Literal["auto"] | None:
    """Return the value of the option ``--processes``: a number, ``"auto"``, or None if it was not given.

    Raises:
        UserError: it is another text.
    """
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not text.isdecimal():
        raise UserError(f"--processes is '{text}': give a number, or 'auto' for one per GPU")
    return int(text)
