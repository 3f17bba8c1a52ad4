"""Locks of files: a process that writes to a place keeps others from it until it ends."""

import fcntl
import logging
import time
from collections.abc import Callable
from typing import IO, Any

logger = logging.getLogger("dmaelab")

Lock = Callable[[Any, int], Any]
"""``fcntl.lockf`` or ``fcntl.flock``."""

_patience = 0.0


def be_patient(seconds: float) -> None:
    """From now on wait so long for a lock that another process holds, before :func:`lock` gives up.

    A file server keeps the locks of a machine that has died for a while, usually for 90 seconds. A job that a cluster
    starts again on another machine must wait for this.
    """
    global _patience
    _patience = seconds


def lock(file: IO[Any], how: Lock) -> bool:
    """Lock an open file against other processes, until it is closed.

    Args:
        file: the file; ``how`` decides whether child processes share the lock.
        how: ``fcntl.lockf`` or ``fcntl.flock``.

    Returns:
        Whether it is locked: False on a file system without locks, which some clusters have. Then it warns.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    end, said = time.monotonic() + _patience, False
    while True:
        try:
            how(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except (BlockingIOError, PermissionError):
            if time.monotonic() >= end:
                raise BlockingIOError(f"{file.name} is locked") from None
            if not said:
                logger.warning("%s is locked by another process, perhaps by one that has died: waiting", file.name)
            said = True
            time.sleep(1.0)
        except OSError as error:
            logger.warning(
                "%s cannot be locked (%s): make sure that no other process writes there", file.name, error.strerror
            )
            return False
