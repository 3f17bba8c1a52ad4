"""Messages of a run: to the console and, in a run directory, to ``log.txt``."""

import logging
import sys
from pathlib import Path

from dmaelab.utils.distributed import is_main


def setup_logging(folder: Path | None = None) -> None:
    """Send the messages of ``dmaelab`` to stdout, and to ``folder/log.txt``; only the first process speaks below
    warnings.
    """
    logger = logging.getLogger("dmaelab")
    logger.setLevel(logging.INFO if is_main() else logging.WARNING)
    logger.propagate = False
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if folder is not None and is_main():
        handlers.append(logging.FileHandler(folder / "log.txt"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
