"""Logging of a run: to the console and, if there is a run directory, to ``log.txt`` in it."""

import contextlib
import logging
import sys
from pathlib import Path

from dmaelab.utils.distributed import is_main
from dmaelab.utils.machine import machine_faults


class _LogFile(logging.FileHandler):
    """A log file whose errors, such as a full disk, are raised. By default each message would print a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Raise the error of this record; later ones go to the console only."""
        logging.getLogger("dmaelab").removeHandler(self)
        with contextlib.suppress(OSError):  # closing writes what is left, too
            self.close()
        with machine_faults(path=self.baseFilename):
            raise


def setup_logging(folder: Path | None = None) -> None:
    """Send log messages of ``dmaelab`` to stdout and, if ``folder`` is given, to ``folder/log.txt``.

    Rank 0 logs from level INFO on. The other processes log only warnings and errors, and write no file.
    """
    logger = logging.getLogger("dmaelab")
    logger.setLevel(logging.INFO if is_main() else logging.WARNING)
    logger.propagate = False
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if folder is not None and is_main():
        handlers.append(_LogFile(folder / "log.txt"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
