"""Errors for the user. Each message is one line that says what is wrong, where, and what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input from a user. The tools print it as one line and exit with status 2."""


class ConfigError(UserError):
    """An invalid config. The message names the key and, if there is a similar one, the nearest valid name."""


class MachineError(RuntimeError):
    """The machine failed, not the user: a worker was killed, or memory, shared memory or the disk is full.

    The message is one line that says what happened, what to lower or to free, and how to go on. The tools print it and
    exit with status 71.
    """


class Preempted(BaseException):
    """A run that was asked to stop and has saved its state. The tools print it and exit with status 75 (try again).

    Like ``KeyboardInterrupt`` it may be raised anywhere. It is no ``Exception``, so that ``except Exception`` does not
    mistake it for an error of the code that it interrupts.
    """


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest of ``options``, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(o) for o in options], n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
