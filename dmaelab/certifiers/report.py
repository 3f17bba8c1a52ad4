"""What is reported about a log: the findings of one or several checks, as lines, and an exit status."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dmaelab.certifiers.verification import verify_log
from dmaelab.utils.cli import MACHINE_FAILED
from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_error

CONTRADICTED = 1
"""Exit status if a check found that a log is wrong."""

UNDECIDED = 2
"""Exit status if a check could not be made."""

_MOST = 20


class Finding(NamedTuple):
    """The result of a check of one log: a line for each problem, and one sentence about the whole."""

    problems: list[str]
    verdict: str


Check = Callable[[Path], Finding]
"""A check of the log in a folder. It raises a ``UserError`` if it cannot be made."""


def counts_decide(folder: Path) -> Finding:
    """Check that every claim of a log follows from its counts; the errors are those of :func:`verify_log`."""
    rows, problems = verify_log(folder)
    if problems:
        return Finding(problems, f"{len(problems)} claims do not follow from their counts")
    return Finding([], f"all {rows} rows follow from their counts")


def report(folder: Path, checks: Sequence[Check]) -> tuple[int, list[str]]:
    """Make the checks of one log, up to the first that fails.

    Returns:
        The exit status (0, :data:`CONTRADICTED`, :data:`UNDECIDED`, or 71 if the machine failed), and the lines to
        print. A line never holds characters of the log that cannot be printed.
    """
    lines: list[str] = []
    for check in checks:
        try:
            problems, verdict = check(folder)
        except Exception as error:  # for example an incomplete log; the caller goes on with the next one
            fault = machine_error(error)
            if fault is None and not isinstance(error, (UserError, OSError)):
                raise
            text, status = str(fault or error), UNDECIDED if fault is None else MACHINE_FAILED
            return status, [*lines, printable(f"error: {text if str(folder) in text else f'{folder}: {text}'}")]
        lines += map(printable, problems[:_MOST])
        lines += [f"... and {len(problems) - _MOST} more"] * (len(problems) > _MOST)
        lines.append(f"{folder}: {verdict}")
        if problems:
            return CONTRADICTED, lines
    return 0, lines


def printable(text: str) -> str:
    """Return a text in one line, with escapes for characters that cannot be printed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
