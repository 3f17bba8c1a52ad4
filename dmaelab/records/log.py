"""Write the log of one certification: a folder with ``header.json`` and one file of rows per shard.

Each row is appended in one write, so a killed process loses at most the row that it was writing. Readers ignore an
incomplete last line. The process that opens the file next removes this line while it holds the lock of the file.
"""

import errno
import fcntl
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dmaelab.records.folders import HEADER, context_differences, read_folders, read_header, shard_path, shard_paths
from dmaelab.records.indices import format_indices
from dmaelab.records.merge import identity_hash
from dmaelab.records.row import BASE_COLUMNS, format_row, parse_row
from dmaelab.utils.differences import differences, listed
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import is_still_there, remove_leftovers, write_json
from dmaelab.utils.locks import lock
from dmaelab.utils.machine import machine_error


class CertificationLog:
    """A certification log that is open for writing one shard; it holds the lock of the shard's file.

    Opening it creates the folder, or continues a folder with the same identity. The rows of all shard files in the
    folder are treated as done, so a restart may use another number of shards.

    Args:
        folder: folder of the log.
        identity: everything that determines the rows, as plain values. A folder can only be continued if it is equal.
        context: information that does not determine the rows (command, versions, device, host). The header keeps the
            context of the process that created it.
        columns: the columns of the certifier, which follow the six columns of every log.
        shard: ``(i, N)``, the number of the shard to write and the number of shards.
        indices: indices of all images of the certification, in all shards, so that readers can find missing images.

    Raises:
        UserError: the folder contains another certification (the message names the differing keys), or another process
            is writing this shard.

    Warns:
        UserWarning: the context differs from that of the header in more than the command.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        identity: Mapping[str, Any],
        context: Mapping[str, Any],
        columns: Sequence[str],
        shard: tuple[int, int] = (0, 1),
        indices: Iterable[int] = (),
    ) -> None:
        self.folder = Path(folder)
        self.columns = (*BASE_COLUMNS, *columns)
        self.path = shard_path(self.folder, shard)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as door:  # one process at a time may open the folder
            with suppress(OSError):  # a file system without locks; for the file of rows it is said below
                fcntl.flock(door, fcntl.LOCK_EX)
            remove_leftovers(self.folder, re.escape(HEADER))
            self._agree_on_header(identity, context, format_indices(indices))
            self._file = _open_locked(self.path)
        try:
            self._mend()
            table = read_folders([self.folder])
        except BaseException:
            self._file.close()
            raise
        self.done: dict[int, dict[str, Any]] = {
            index: parse_row(self.columns, cells) for index, cells in table.rows.items()
        }
        """Image index -> values by column, for every image that has a row; :meth:`append` adds to it."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row, made by :func:`dmaelab.records.row.make_row`.

        On return the row has been passed to the operating system, so that it survives a kill of the process.

        Raises:
            UserError: the image already has a row, the row does not fit the columns, or the file was removed.
            MachineError: the disk is full, or failed; the rows that were written before stay intact.
        """
        if row["idx"] in self.done:
            raise UserError(f"image {row['idx']} already has a row in {self.folder}")
        if not is_still_there(self._file.fileno(), self.path):
            raise UserError(
                f"{self.path} was removed or replaced while this process was writing to it: repeat the command to"
                " certify the missing images"
            )
        line = format_row(self.columns, row)
        self._write(line + "\n")
        self.done[row["idx"]] = parse_row(self.columns, line.split("\t"))

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()

    def __enter__(self) -> "CertificationLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _agree_on_header(self, identity: Mapping[str, Any], context: Mapping[str, Any], indices: str) -> None:
        """Write the header, or check that an existing one has the same identity.

        A header without rows, left by a start that failed, is replaced.
        """
        mine = {
            "identity": identity,
            "identity_hash": identity_hash(identity),
            "context": context,
            "columns": self.columns,
            "indices": indices,
        }
        mine = json.loads(json.dumps(mine))  # as it will be read back: tuples become lists
        if not (self.folder / HEADER).exists():
            if not self._discard_empty():
                raise UserError(
                    f"{self.folder} contains rows but no {HEADER}, so their origin is unknown: remove the folder"
                )
            write_json(self.folder / HEADER, mine)
        header = read_header(self.folder)
        different = differences(header["identity"], mine["identity"]) or differences(
            {"columns": header["columns"]}, {"columns": mine["columns"]}
        )
        if different and self._discard_empty():
            write_json(self.folder / HEADER, mine)
            header = mine
        elif different:
            raise UserError(
                f"{self.folder} contains another certification: {listed(different, 'in the folder', 'now')};"
                " to keep it, choose another certify.name=... (in Python another out=...), else remove the folder"
            )
        if different := context_differences(header, mine):
            warnings.warn(
                f"{self.folder} was started in another context: {listed(different, 'in the folder', 'now')}",
                stacklevel=3,
            )

    def _discard_empty(self) -> bool:
        """Remove all shard files if none has rows and no process writes to one; return whether they were removed."""
        shards = shard_paths(self.folder)
        if any(shard.read_bytes().count(b"\n") > 1 or is_locked(shard) for shard in shards):
            return False
        for shard in shards:
            shard.unlink()
        return True

    def _mend(self) -> None:
        """Remove an incomplete last line, and write the line of column names if the file has none."""
        content = self._file.read()
        self._end = content.rfind(b"\n") + 1
        self._file.truncate(self._end)
        if self._end == 0:
            self._write("\t".join(self.columns) + "\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        self._file.seek(self._end)
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._file.truncate(self._end)
            reason = UserError(f"cannot write to {self.path}: {error.strerror}; earlier rows are intact")
            raise machine_error(error, path=self.path) or reason from error
        self._end += written


def _open_locked(path: Path) -> Any:
    """Open the file unbuffered for reading and writing, create it if needed, and lock it until it is closed."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    try:
        lock(file, fcntl.flock)
    except BlockingIOError:
        file.close()
        raise UserError(f"{path} is being written by another process: wait for it, or choose another shard") from None
    return file


def is_locked(path: Path) -> bool:
    """Return whether a process has the file open for writing."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
