"""Merge several tables of rows into one with a single row per image."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dmaelab.utils.errors import UserError


@dataclass(frozen=True)
class Table:
    """The rows of a log as text.

    Attributes:
        source: where the rows come from, for messages.
        columns: names of the columns.
        rows: index of the image -> cells.
        repeated: number of rows that were dropped because another source has an equal row for the same image.
    """

    source: str
    columns: tuple[str, ...]
    rows: dict[int, tuple[str, ...]]
    repeated: int = 0


def merge_tables(source: str, tables: Iterable[Table]) -> Table:
    """Return the union of the tables, with the rows sorted by index.

    An image may be in several tables if its rows are equal except for ``time``. The first one is kept.

    Raises:
        UserError: the tables have different columns, or an image has two different rows. The message names the sources.
    """
    columns: tuple[str, ...] = ()
    rows: dict[int, tuple[str, ...]] = {}
    origin: dict[int, str] = {}
    repeated = 0
    for table in tables:
        if rows and table.columns != columns:
            raise UserError(f"{table.source} has other columns than the rest of {source}: they cannot be merged")
        columns = table.columns
        for index, cells in table.rows.items():
            if index not in rows:
                rows[index], origin[index] = cells, table.source
                continue
            repeated += 1
            different = [
                c for c, old, new in zip(columns, rows[index], cells, strict=True) if old != new and c != "time"
            ]
            if different:
                raise UserError(
                    f"image {index} differs between {origin[index]} and {table.source} in {', '.join(different)}: "
                    "they are not from the same certification, remove one of them"
                )
    return Table(source, columns, dict(sorted(rows.items())), repeated)


def check_complete(table: Table, indices: Iterable[int]) -> None:
    """Raise ``UserError`` if images are missing or do not belong to the certification; it names the first of them."""
    expected = set(indices)
    if missing := sorted(expected - table.rows.keys()):
        raise UserError(
            f"{table.source}: {len(missing)} of {len(expected)} images have no row: {_some(missing)}; certify the"
            " missing shards"
        )
    check_foreign(table.source, table.rows, expected)


def check_foreign(source: str, indices: Iterable[int], expected: Iterable[int]) -> None:
    """Raise ``UserError`` if images with rows do not belong to the certification; it names the first of them.

    Args:
        source: where the rows come from, for the message.
        indices: images that have rows.
        expected: all images of the certification.
    """
    if foreign := sorted(set(indices) - set(expected)):
        raise UserError(
            f"{source}: {len(foreign)} rows are of images outside the certification: {_some(foreign)}; remove them"
        )


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Return the hash (16 hex digits) of an identity. It does not depend on the order of the keys.

    Raises:
        UserError: a value that JSON cannot store.
    """
    try:
        text = json.dumps(identity, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"the identity of a log must consist of plain finite values: {error}") from None
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _some(indices: list[int], most: int = 10) -> str:
    """Return the first indices as text."""
    return ", ".join(map(str, indices[:most])) + (", ..." if len(indices) > most else "")
