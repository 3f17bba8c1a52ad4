"""Writing the log of one certification: a folder of ``header.json`` and one file of rows per shard.

Rows are only ever appended, one write each, so a kill costs at most the line it cut. Readers leave
out a cut line; it is removed by the process that reopens its file, under the file's lock.
"""

import fcntl
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmaelab.records.folders import HEADER, context_differences, read_folders, read_header
from dmaelab.records.indices import format_indices
from dmaelab.records.merge import identity_hash
from dmaelab.records.row import BASE_COLUMNS, format_row, parse_row
from dmaelab.utils.differences import Difference, differences
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_json


class CertificationLog:
    """The open log of one process: knows what is done, appends rows, holds its file's lock.

    Opening creates the folder, or continues one of the same identity. All shard files of the folder
    count as done, so a restart may use another number of shards.

    Args:
        folder: of the log.
        identity: what determines the rows, plain values; decides whether a folder may be continued.
        context: what does not (command, versions, device, host); the first writer's is kept.
        columns: the certifier's columns, after the six of every log.
        shard: ``(i, N)``, which file to write.
        indices: all images of the certification, of every shard; readers then know what is missing.

    Raises:
        UserError: the folder holds another certification (names the differing keys), or another
            process is writing this shard.

    Warns:
        UserWarning: the context differs from the header's in more than the command.
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
        self.path = self.folder / "shard-{:03d}-of-{:03d}.tsv".format(*shard)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as lock:  # one process at a time, until its file is locked
            fcntl.flock(lock, fcntl.LOCK_EX)
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
        """Values by column of every image that has a row, by index; grows with :meth:`append`."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row, as :func:`dmaelab.records.row.make_row` makes it; it is with the system on return.

        Raises:
            UserError: the image has a row already, the row does not fit the columns, or the disk is
                full (the log stays whole).
        """
        if row["idx"] in self.done:
            raise UserError(f"image {row['idx']} has a row already in {self.folder}")
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
        """Write the header, or compare with the one that is there.

        One of a start that failed before its first row makes room.
        """
        mine = {
            "identity": identity,
            "identity_hash": identity_hash(identity),
            "context": context,
            "columns": self.columns,
            "indices": indices,
        }
        mine = json.loads(json.dumps(mine))  # as it will read back: tuples become lists
        if not (self.folder / HEADER).exists():
            if not self._discard_empty():
                raise UserError(
                    f"{self.folder} holds rows and no {HEADER}: nobody knows what they are of, remove the folder"
                )
            write_json(self.folder / HEADER, mine)
        header = read_header(self.folder)
        different = differences(header["identity"], mine["identity"])
        if not different and header["columns"] != mine["columns"]:
            different = [Difference("the line of columns", " ".join(header["columns"]), " ".join(mine["columns"]))]
        if different and self._discard_empty():
            write_json(self.folder / HEADER, mine)
            header = mine
        elif different:
            raise UserError(
                f"{self.folder} holds another certification: {'; '.join(map(str, different))};"
                " choose another name or remove the folder"
            )
        if different := context_differences(header, mine):
            warnings.warn(f"{self.folder} was begun in another context: {'; '.join(map(str, different))}", stacklevel=3)

    def _discard_empty(self) -> bool:
        """Remove the shard files if none has a row or a process that writes it; whether it was so."""
        shards = sorted(self.folder.glob("shard-*.tsv"))
        if any(shard.read_bytes().count(b"\n") > 1 or is_locked(shard) for shard in shards):
            return False
        for shard in shards:
            shard.unlink()
        return True

    def _mend(self) -> None:
        """Remove a cut last line, and write the line of columns where it is missing."""
        content = self._file.read()
        self._end = content.rfind(b"\n") + 1
        self._file.truncate(self._end)
        if self._end == 0:
            self._write("\t".join(self.columns) + "\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        self._file.seek(self._end)
        try:
            written, reason = self._file.write(data), "no space left"
        except OSError as error:
            written, reason = 0, str(error.strerror)
        if written != len(data):
            self._file.truncate(self._end)
            raise UserError(
                f"cannot write to {self.path}: {reason}; the rows so far are whole, make room and repeat the command"
            )
        self._end += written


def _open_locked(path: Path) -> Any:
    """Open the file unbuffered for reading and writing, creating it, and lock it until it is closed."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(
            f"{path} is being written by another process: wait for it, or give this one another shard"
        ) from None
    return file


def is_locked(path: Path) -> bool:
    """Whether a process is writing the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
