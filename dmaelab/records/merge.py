"""Merging: many sets of rows into one, in which every image stands once."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dmaelab.utils.errors import UserError


@dataclass(frozen=True)
class Table:
    """Rows as text, by index of the image in ascending order.

    Attributes:
        source: where they come from, for messages.
        columns: names of the cells.
        rows: index -> cells.
        repeated: images that stood in several sources, with equal rows.
    """

    source: str
    columns: tuple[str, ...]
    rows: dict[int, tuple[str, ...]]
    repeated: int = 0


def merge_tables(source: str, tables: Iterable[Table]) -> Table:
    """Return the union of the tables.

    An image may stand in several of them if its rows are equal but for ``time``.

    Raises:
        UserError: other columns, or two different rows for one image; names both sources.
    """
    columns: tuple[str, ...] = ()
    rows: dict[int, tuple[str, ...]] = {}
    origin: dict[int, str] = {}
    repeated = 0
    for table in tables:
        if rows and table.columns != columns:
            raise UserError(
                f"{table.source} has other columns than the rest of {source}: logs of different kinds cannot be merged"
            )
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
                    "they are not the same certification, remove one of them"
                )
    return Table(source, columns, dict(sorted(rows.items())), repeated)


def check_complete(table: Table, indices: Iterable[int]) -> None:
    """Raise ``UserError`` naming the first images that are missing, or that do not belong to the certification."""
    expected = set(indices)
    if missing := sorted(expected - table.rows.keys()):
        raise UserError(
            f"{table.source}: {len(missing)} of {len(expected)} images have no row: {_some(missing)}; certify the"
            " missing shards"
        )
    if foreign := sorted(table.rows.keys() - expected):
        raise UserError(
            f"{table.source}: {len(foreign)} rows are of images outside the certification: {_some(foreign)}; remove"
            " them"
        )


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Return the hash (16 hex digits) of an identity, the same for any order of its keys.

    Raises:
        UserError: for values that JSON cannot hold.
    """
    try:
        text = json.dumps(identity, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"the identity of a log must be of plain finite values: {error}") from None
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _some(indices: list[int], most: int = 10) -> str:
    return ", ".join(map(str, indices[:most])) + (", ..." if len(indices) > most else "")
