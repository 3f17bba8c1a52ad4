"""Errors that are part of the product: one clear line that says what, where and what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input from a user. The tools print it as one line and exit with status 2."""


class ConfigError(UserError):
    """A config that cannot be run: names the place and, where there is one, the nearest right name."""


class Preempted(BaseException):
    """A run that was asked to stop and has saved its state. The tools print it and exit with status 75 (try again).

    Like ``KeyboardInterrupt`` it may come anywhere, and is not to be taken for the failure of what it interrupts.
    """


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest of ``options``, or an empty string."""
    close = difflib.get_close_matches(str(name), [str(o) for o in options], n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
