"""The log of one certification: a folder of ``header.json`` and one file of rows per shard.

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

from dmaelab.records.indices import format_indices, parse_indices, subset
from dmaelab.records.merge import Table, check_complete, differences, identity_hash, merge_tables
from dmaelab.records.row import BASE_COLUMNS, format_row, parse_row
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_json, write_text

HEADER = "header.json"


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
        folder: str | os.PathLike,
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
        self.done: dict[int, dict[str, Any]] = {index: parse_row(self.columns, cells) for index, cells in table.rows.items()}
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
                raise UserError(f"{self.folder} holds rows and no {HEADER}: nobody knows what they are of, remove the folder")
            write_json(self.folder / HEADER, mine)
        header = read_header(self.folder)
        different = differences(header["identity"], mine["identity"])
        if not different and header["columns"] != mine["columns"]:
            different = [f"columns are {' '.join(header['columns'])} there, {' '.join(mine['columns'])} here"]
        if different and self._discard_empty():
            write_json(self.folder / HEADER, mine)
            header = mine
        elif different:
            raise UserError(f"{self.folder} holds another certification: {'; '.join(different)}; choose another name or remove the folder")
        if different := _context_differences(header, mine):
            warnings.warn(f"{self.folder} was begun in another context: {'; '.join(different)}", stacklevel=3)

    def _discard_empty(self) -> bool:
        """Remove the shard files if none has a row or a process that writes it; whether it was so."""
        shards = sorted(self.folder.glob("shard-*.tsv"))
        if any(shard.read_bytes().count(b"\n") > 1 or _is_locked(shard) for shard in shards):
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
            raise UserError(f"cannot write to {self.path}: {reason}; the rows so far are whole, make room and repeat the command")
        self._end += written


def _context_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The command differs between shards and restarts by nature, so only the rest is worth a line."""
    return [line for line in differences(there["context"], here["context"]) if not line.startswith("command ")]


def _open_locked(path: Path) -> Any:
    """Open the file unbuffered for reading and writing, creating it, and lock it until it is closed."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(f"{path} is being written by another process: wait for it, or give this one another shard") from None
    return file


def _is_locked(path: Path) -> bool:
    """Whether a process is writing the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_lines(path: Path) -> tuple[list[str], str]:
    """Return the whole lines of a text file, and what follows the last line break.

    Raises:
        UserError: the file is missing, unreadable or not text.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise UserError(f"no certification log at {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text, so it is no certification log") from None
    *lines, rest = text.replace("\r\n", "\n").split("\n")
    return lines, rest


def read_header(folder: Path) -> dict[str, Any]:
    """Return the header of a log: ``identity, identity_hash, context, columns``.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / HEADER
    try:
        header = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} is no certification log: it is no folder with a {HEADER}") from None
    except ValueError:
        raise UserError(f"{path} is damaged: it is not JSON") from None
    if not isinstance(header, dict) or not {"identity", "identity_hash", "context", "columns"} <= header.keys():
        raise UserError(f"{path} is not the header of a certification log: it lacks identity, identity_hash, context or columns")
    if [type(header[key]) for key in ("identity", "context", "columns")] != [dict, dict, list]:
        raise UserError(f"{path} is damaged: identity and context should be mappings, columns a list")
    return header


def read_shard(path: Path, columns: Sequence[str]) -> Table:
    """Return the whole rows of one shard file; a cut last line is left out.

    Raises:
        UserError: the file has other columns, or a line that is no row (names the line).
    """
    lines, _ = read_lines(path)
    if lines and lines[0].split("\t") != list(columns):
        raise UserError(f"{path} has other columns than the {HEADER} beside it: it does not belong to this log")
    rows: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = tuple(line.split("\t"))
        if len(cells) != len(columns) or not cells[0].isdecimal() or int(cells[0]) in rows:
            raise UserError(f"{path}, line {number}: damaged, repeated or no row of a log; remove that line")
        rows[int(cells[0])] = cells
    return Table(str(path), tuple(columns), rows)


def read_folders(folders: Sequence[str | os.PathLike]) -> Table:
    """Return the rows of all shard files of the folders, merged.

    Raises:
        UserError: the folders' identities differ (names the keys), or two rows of one image do.
    """
    paths = [Path(folder) for folder in folders]
    headers = [read_header(path) for path in paths]
    for path, header in zip(paths[1:], headers[1:], strict=True):
        different = differences(headers[0]["identity"], header["identity"])
        if different:
            raise UserError(f"{paths[0]} (there) and {path} (here) are different certifications: {'; '.join(different)}")
    folders_and_columns = [(path, header["columns"]) for path, header in zip(paths, headers, strict=True)]
    shards = [read_shard(shard, columns) for path, columns in folders_and_columns for shard in sorted(path.glob("shard-*.tsv"))]
    return merge_tables(", ".join(map(str, paths)), shards)


def expected_indices(header: Mapping[str, Any]) -> list[int]:
    """Return the indices of all images that a log is to hold, ascending.

    Raises:
        UserError: the header does not tell, or not what its identity holds.
    """
    indices = parse_indices(header.get("indices", ""))
    if subset(indices) != header["identity"].get("subset"):
        raise UserError(
            f"the list of images in {HEADER} is not that of its identity: the header has been changed, or is of an earlier version"
        )
    return indices


def merge_folders(folders: Sequence[str | os.PathLike], out: str | os.PathLike) -> Table:
    """Write the rows of several folders of one certification as one whole log, and return them.

    Rows of one image may stand in several folders if they are equal but for their time.

    Args:
        folders: of logs with equal identities, together complete.
        out: folder of the new log; must not hold one.

    Raises:
        UserError: differing identities (names the keys) or rows, missing or foreign images, or ``out`` holds a log.
    """
    table = read_folders(folders)
    header = read_header(Path(folders[0]))
    check_complete(table, expected_indices(header))
    if Path(out).exists() and any(Path(out).iterdir()):
        raise UserError(f"{out} is not empty: choose a new folder")
    for folder in folders[1:]:
        if different := _context_differences(header, read_header(Path(folder))):
            warnings.warn(f"{folder} was written in another context than {folders[0]}: {'; '.join(different)}", stacklevel=2)
    write_text(Path(out) / "shard-000-of-001.tsv", "".join("\t".join(cells) + "\n" for cells in (table.columns, *table.rows.values())))
    write_json(Path(out) / HEADER, header)  # last: a folder without it is no log
    return table
