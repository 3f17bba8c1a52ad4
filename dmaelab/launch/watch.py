"""One progress bar for a certification that runs in several processes."""

import contextlib
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from dmaelab.records.folders import read_folders, read_header
from dmaelab.records.row import parse_row
from dmaelab.smoothing.progress import Progress
from dmaelab.utils.errors import MachineError, UserError

_POLL = 1.0  # seconds between two looks at the files


def watch_shards(children: Sequence[BaseProcess], folder: Path, progress: bool) -> None:
    """Wait until all processes have ended; meanwhile update the bar with the rows that they append to the log.

    Args:
        children: processes that have been started; each writes a shard.
        folder: folder of the log; it need not exist yet.
        progress: draw a bar; otherwise only wait.
    """
    begun = None
    while begun is None and _running(children):
        with contextlib.suppress(UserError, MachineError):  # there is no header or no row yet
            begun, total = read_folders([folder]), read_header(folder)["identity"]["subset"]["count"]
        time.sleep(_POLL)
    if begun is None:
        return
    with Progress(total, [parse_row(begun.columns, cells) for cells in begun.rows.values()], hide=not progress) as bar:
        seen, running = begun.rows.keys(), True
        while running:
            running = _running(children)
            with contextlib.suppress(UserError, MachineError):  # a file is being created: rows show at the next look
                table = read_folders([folder])
                for index in table.rows.keys() - seen:
                    bar.add(parse_row(table.columns, table.rows[index]))
                seen = table.rows.keys()
            time.sleep(_POLL if running else 0)


def _running(children: Sequence[BaseProcess]) -> bool:
    return any(child.is_alive() for child in children)
