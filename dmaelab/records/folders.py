"""The folder of a certification log: its files, its header, the rows of all shards. Merge several folders into one.

A log is a folder with one header and one file of rows for each shard. The logs of a run are the folders in
``<run>/certify``.
"""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmaelab.records.indices import parse_indices, subset
from dmaelab.records.merge import Table, check_complete, merge_tables
from dmaelab.utils.differences import Difference, differences, listed
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_json, write_text
from dmaelab.utils.machine import machine_error

HEADER = "header.json"

LOGS_FOLDER = "certify"
"""The folder of a run directory that contains its logs."""


def shard_path(folder: Path, shard: tuple[int, int]) -> Path:
    """Return the path of the rows of shard ``(i, N)``, which is shard number i of N."""
    return folder / "shard-{:03d}-of-{:03d}.tsv".format(*shard)


def shard_paths(folder: Path) -> list[Path]:
    """Return the paths of all shard files in the folder, in ascending order."""
    return sorted(folder.glob("shard-*.tsv"))


def read_lines(path: Path) -> tuple[list[str], str]:
    """Return the complete lines of a text file, and the text after the last line break.

    Raises:
        UserError: the file is missing, unreadable or not text.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise UserError(f"no certification log at {path}") from None
    except OSError as error:
        raise machine_error(error, path=path) or UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a certification log: it is not a text file") from None
    *lines, rest = text.replace("\r\n", "\n").split("\n")
    return lines, rest


def read_header(folder: Path) -> dict[str, Any]:
    """Return the header of a log, a dict with at least ``identity``, ``identity_hash``, ``context`` and ``columns``.

    Raises:
        UserError: there is no header, or it is damaged.
    """
    path = folder / HEADER
    if not path.is_file():
        raise UserError(f"{folder} is not a certification log: it is not a folder with a {HEADER}")
    try:
        header = json.loads(path.read_bytes().decode(), object_pairs_hook=_mapping)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except KeyError as error:
        raise UserError(f"{path} is damaged: it has the key {error.args[0]!a} twice") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it is not JSON") from None
    if not isinstance(header, dict) or not {"identity", "identity_hash", "context", "columns"} <= header.keys():
        raise UserError(
            f"{path} is not the header of a certification log: it lacks identity, identity_hash, context or columns"
        )
    if [type(header[key]) for key in ("identity", "context", "columns")] != [dict, dict, list]:
        raise UserError(f"{path} is damaged: identity and context should be mappings, columns a list")
    return header


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping of a JSON object; ``KeyError`` if it has a key twice, since one could hide the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for name in names if names.count(name) > 1))
    return found


def context_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[Difference]:
    """Return the differences between the contexts of two headers, except for the command line.

    Shards and restarts of one certification have different command lines.
    """
    first, second = (
        {key: value for key, value in header["context"].items() if key != "command"} for header in (there, here)
    )
    return differences(first, second)


def read_shard(path: Path, columns: Sequence[str]) -> Table:
    """Return the rows of one shard file, without an incomplete last line.

    Raises:
        UserError: the file has other columns, or a line that is not a row (the message gives its number).
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file with the rows of a shard: remove it")
    lines, _ = read_lines(path)
    if lines and lines[0].split("\t") != list(columns):
        raise UserError(f"{path} has other columns than the {HEADER} beside it: it does not belong to this log")
    rows: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = tuple(line.split("\t"))
        if len(cells) != len(columns) or not cells[0].isdecimal() or len(cells[0]) > 18 or int(cells[0]) in rows:
            raise UserError(f"{path}, line {number}: damaged, repeated or not a row of a log; remove that line")
        rows[int(cells[0])] = cells
    return Table(str(path), tuple(columns), rows)


def read_folders(folders: Sequence[str | os.PathLike[str]]) -> Table:
    """Return the rows of all shard files of the folders, merged.

    Raises:
        UserError: the identities of the folders differ (the message names the keys), or two rows of one image do.
    """
    paths = [Path(folder) for folder in folders]
    headers = [read_header(path) for path in paths]
    for path, header in zip(paths[1:], headers[1:], strict=True):
        different = differences(headers[0]["identity"], header["identity"])
        if different:
            raise UserError(
                f"{paths[0]} and {path} are different certifications:"
                f" {listed(different, 'in the first', 'in the second')}"
            )
    folders_and_columns = [(path, header["columns"]) for path, header in zip(paths, headers, strict=True)]
    shards = [read_shard(shard, columns) for path, columns in folders_and_columns for shard in shard_paths(path)]
    return merge_tables(", ".join(map(str, paths)), shards)


def check_removable(folder: Path) -> None:
    """Check that a folder is the one of a log, or the beginning of one, before it is deleted.

    Raises:
        UserError: the folder holds something else.
    """
    shards = {path.name for path in shard_paths(folder)}
    if not (folder / HEADER).exists() and any(path.name not in {".lock", *shards} for path in folder.iterdir()):
        raise UserError(
            f"{folder} is not deleted, because it has no {HEADER} and so is no certification log: look what it is, and"
            " move it away"
        )


def expected_indices(header: Mapping[str, Any]) -> list[int]:
    """Return the indices of all images that a complete log contains, in ascending order.

    Raises:
        UserError: the list of images in the header does not match the count and hash in its identity.
    """
    indices = parse_indices(str(header.get("indices", "")))
    if subset(indices) != header["identity"].get("subset"):
        raise UserError(
            f"the list of images in {HEADER} does not match its identity: the header was changed, or written by an"
            " earlier version"
        )
    return indices


def merge_folders(folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Table:
    """Merge several folders of one certification into one complete log, write it to ``out`` and return its rows.

    An image may have rows in several folders if they are equal except for their time.

    Args:
        folders: folders of logs with equal identities, which together contain all images.
        out: folder of the new log; it must be empty or not exist.

    Raises:
        UserError: the identities differ (the message names the keys), the rows of an image differ, images are missing
            or do not belong to the certification, or ``out`` is not empty.

    Warns:
        UserWarning: the context of a folder differs from that of the first in more than the command.
    """
    table = read_folders(folders)
    header = read_header(Path(folders[0]))
    check_complete(table, expected_indices(header))
    if Path(out).exists() and any(Path(out).iterdir()):
        raise UserError(f"{out} is not empty: choose a new folder")
    for folder in folders[1:]:
        if different := context_differences(header, read_header(Path(folder))):
            warnings.warn(
                f"{folders[0]} and {folder} were written in different contexts:"
                f" {listed(different, 'in the first', 'in the second')}",
                stacklevel=2,
            )
    write_text(
        shard_path(Path(out), (0, 1)),
        "".join("\t".join(cells) + "\n" for cells in (table.columns, *table.rows.values())),
    )
    write_json(Path(out) / HEADER, header)  # last, because a folder without a header is not a log
    return table
