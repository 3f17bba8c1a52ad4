"""The rows of a log's shard files, read as strictly as only ``--verify`` needs it.

Readers take whatever rows a folder holds. Here each file must be one that a shard of the certification can write.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from dmaelab.records.folders import read_shard, shard_path, shard_paths
from dmaelab.records.merge import Table, check_foreign, merge_tables
from dmaelab.utils.errors import UserError

_NAME = re.compile(r"shard-([0-9]{3,9})-of-([0-9]{3,9})\.tsv")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


def read_shards(folder: Path, columns: Sequence[str], indices: Sequence[int]) -> Table:
    """Return the rows of all shard files of a log.

    A shard ``(i, N)`` holds the images at the positions i, i + N, ... of the list of images. The header does not keep
    the order of this list, and a restart may change the order and N. So a shard may hold any images of the log, also
    those of another shard; rows of one image must be equal but for the time.

    Args:
        folder: folder of the log.
        columns: the columns of the log.
        indices: indices of all images of the certification.

    Raises:
        UserError: a file is not that of a shard or is damaged, holds images that do not belong to the log, or two files
            contradict each other.
    """
    tables = []
    for path in shard_paths(folder):
        _check_name(path)
        check_text(path)
        table = read_shard(path, columns)
        check_foreign(str(path), table.rows, indices)
        tables.append(table)
    return merge_tables(str(folder), tables)


def _check_name(path: Path) -> None:
    """Raise ``UserError`` if the name of a file is not that of a shard ``(i, N)`` with i < N."""
    match = _NAME.fullmatch(path.name)
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not part < parts or shard_path(path.parent, (part, parts)) != path:
        example = shard_path(path.parent, (0, 1)).name
        raise UserError(f"{path.parent}: {path.name!a} is not the name of a shard, such as {example}: remove it")


def check_text(path: Path) -> None:
    """Raise ``UserError`` if a file of a log has line breaks of other systems, or characters that cannot be seen."""
    try:
        content = path.read_bytes() if path.is_file() else b""  # its reader refuses what is no file
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if match := _CONTROL.search(content):
        line = content.count(b"\n", 0, match.start()) + 1
        raise UserError(f"{path}, line {line}: holds the character {match[0].decode()!a}, which no log has")
