"""What a launcher says about processes that failed: which, why if they could not say it themselves, and whose fault."""

import signal
from collections.abc import Mapping

from dmaelab.utils.cli import MACHINE_FAILED
from dmaelab.utils.errors import MachineError, UserError
from dmaelab.utils.machine import killed_by
from dmaelab.utils.signals import STOP


def failure(failed: Mapping[int, int], count: int, one: str, several: str, advice: str) -> UserError | MachineError:
    """Return the error that a launcher raises when some of its processes failed.

    It is a ``MachineError`` if the machine is to blame for every failure: a signal that no one sends on purpose killed
    the process, or it ended with status 71. Otherwise it is a ``UserError``, because to repeat the command would fail
    again.

    Args:
        failed: number of a process -> its exit code, as in ``multiprocessing``: ``-n`` if signal n killed it.
        count: number of all processes.
        one, several: what the processes are called, such as ``"shard"`` and ``"shards"``.
        advice: how to go on, the end of the message.
    """
    killed = [f"{number}: {killed_by(-code)}" for number, code in failed.items() if code < 0]
    said = f" ({', '.join(killed)})" if killed else ""
    text = (
        f"{one if len(failed) == 1 else several} {', '.join(map(str, failed))} of {count} failed, see above"
        f"{said}; {advice}"
    )
    return (MachineError if all(map(_is_machines, failed.values())) else UserError)(text)


def _is_machines(code: int) -> bool:
    return code == MACHINE_FAILED or (code < 0 and -code not in (*STOP, signal.SIGINT))
