"""Read certification logs: folders written by this package, and TSV files of other tools."""

import math
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dmaelab.records.folders import HEADER, LOGS_FOLDER, read_folders, read_header, read_lines, shard_paths
from dmaelab.records.indices import parse_indices
from dmaelab.records.merge import check_foreign
from dmaelab.records.row import BASE_COLUMNS, parse_value
from dmaelab.utils.errors import UserError

_CLOCK = re.compile(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class Log:
    """A certification log in memory; all arrays have one entry per row, in the order of the source.

    Attributes:
        path: the file or folder that was read.
        index: int64, index of the image in its data set.
        label: int64, true class.
        prediction: int64, predicted class, or -1 for abstention (some other tools: -2 for a wrong class).
        radius: float64, in ``norm``, [0,1] pixel units, at full precision if the source has it; 0 in logs of PREDICT.
        correct: bool, recomputed from ``prediction`` and ``label``.
        time: float64, seconds; nan if the source has no times.
        extra: the other columns, by name.
        header: content of ``header.json``; None if there is none.
        norm: norm of the radii: that of the header, or l2 without one; another one after a conversion.
        radius_column: name of the column of the source that contains the radii; empty if it has none.
    """

    path: Path
    index: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    radius: np.ndarray
    correct: np.ndarray
    time: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    header: dict[str, Any] | None = None
    norm: str = "l2"
    radius_column: str = "radius"

    def __len__(self) -> int:
        return len(self.index)

    @property
    def identity(self) -> dict[str, Any]:
        """The identity in the header, which contains everything that determines the rows; empty without a header."""
        return self.header["identity"] if self.header else {}

    @property
    def context(self) -> dict[str, Any]:
        """The context in the header, which contains facts that do not determine the rows; empty without a header."""
        return self.header["context"] if self.header else {}

    @property
    def labels(self) -> dict[str, Any]:
        """The labels in the header as they stand there, unchecked; empty if there are none."""
        return self.context.get("labels") or {}

    @property
    def claims_radii(self) -> bool:
        """Whether the log contains certified radii; logs of PREDICT contain only classes."""
        return bool(self.radius_column) and self.identity.get("certifier", {}).get("name") != "predict"

    def take(self, rows: np.ndarray) -> "Log":
        """Return the log with only some of the rows, given by their positions (int64) or a mask (bool)."""
        arrays = {
            name: getattr(self, name)[rows] for name in ("index", "label", "prediction", "radius", "correct", "time")
        }
        return replace(self, **arrays, extra={name: column[rows] for name, column in self.extra.items()})


def find_logs(path: str | os.PathLike[str]) -> list[Path]:
    """Return the logs at ``path``: itself for a file or the folder of a log, all logs below it for a run directory.

    Raises:
        UserError: there is no log.
    """
    path = Path(path)
    if not path.is_dir() or (path / HEADER).exists():
        return [path]
    found = sorted(header.parent for place in (path, path / LOGS_FOLDER) for header in place.glob(f"*/{HEADER}"))
    if not found:
        raise UserError(
            f"no certification log in {path}: expected {HEADER} in it, or in {LOGS_FOLDER}/<name>/ below it; name files"
            " of other tools one by one"
        )
    return found


def read_log(path: str | os.PathLike[str]) -> Log:
    """Read one log: a folder (all its shards), or a TSV file whose first line contains the column names.

    Only the columns ``idx``, ``label`` and ``predict`` are required. ``time`` may be in seconds or in the form
    ``[d days, ]h:mm:ss[.f]``. If the file is a shard of a folder of this package, its header is read too.

    Raises:
        UserError: the log is missing, empty or damaged, or has two rows for one image. The message gives the place.

    Warns:
        UserWarning: a folder is incomplete or contains images twice, a file ends with lines that are not rows, or its
            column ``correct`` is not ``predict == label``.
    """
    path = Path(path)
    header = None
    if path.is_dir():
        header = read_header(path)
        table = read_folders([path])
        columns, rows = table.columns, list(table.rows.values())
        if table.repeated:
            warnings.warn(
                f"{path}: {table.repeated} images are recorded twice, with equal rows; counted once", stacklevel=2
            )
    else:
        columns, rows = _read_file(path)
        if path in shard_paths(path.parent) and (path.parent / HEADER).exists():
            header = read_header(path.parent)
    if header is not None:
        _check_images(path, header, [int(row[columns.index("idx")]) for row in rows])
    if not rows:
        raise UserError(f"{path} has no rows: no image has been certified yet")
    return _to_log(path, columns, rows, header)


def read_one_log(path: str | os.PathLike[str]) -> Log:
    """Read the only log at a path: a file, the folder of a log, or a run directory with one certification.

    Raises:
        UserError: there is no log, there are several (the message names them), or as for :func:`read_log`.
    """
    found = find_logs(path)
    if len(found) > 1:
        raise UserError(f"{path} contains {len(found)} logs, name one of them: {', '.join(map(str, found))}")
    return read_log(found[0])


def _read_file(path: Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return columns and rows of a TSV file."""
    lines, rest = read_lines(path)
    if rest and not (path.parent / HEADER).exists():  # other tools may omit the last line break
        lines.append(rest)
    columns = tuple(lines[0].split("\t")) if lines else ()
    if not columns:
        raise UserError(f"{path} is empty")
    if missing := [name for name in ("idx", "label", "predict") if name not in columns]:
        raise UserError(f"{path} is not a certification log: its first line lacks the columns {', '.join(missing)}")
    place = columns.index("idx")
    rows = [tuple(line.split("\t")) for line in lines[1:]]
    good = [len(row) == len(columns) and row[place].strip().isdecimal() for row in rows]
    count = sum(good)
    if not all(good[:count]):
        raise UserError(
            f"{path}, line {good.index(False) + 2}: not a row of {len(columns)} cells with a whole number in 'idx'"
        )
    if any(any(row) for row in rows[count:]):  # some tools append a summary; blank lines are ignored silently
        warnings.warn(f"{path}: ignored the text after line {count + 1}, it is not a row", stacklevel=3)
    _refuse_repeated(path, [int(row[place]) for row in rows[:count]])
    return columns, rows[:count]


def _check_images(path: Path, header: dict[str, Any], indices: Sequence[int]) -> None:
    """Warn of missing images, and refuse images outside the certification, which would distort every accuracy."""
    expected = header["identity"].get("subset", {}).get("count", len(indices))
    if 0 < len(indices) < expected:
        warnings.warn(f"{path} is incomplete: {len(indices)} of {expected} images", stacklevel=3)
    if header.get("indices"):
        check_foreign(str(path), indices, parse_indices(header["indices"]))


def _refuse_repeated(path: Path, indices: Sequence[int]) -> None:
    """Raise ``UserError`` if an image has two rows: it would count twice, and it is unknown which row is right."""
    lines: dict[int, int] = {}
    for line, index in enumerate(indices, start=2):
        if (first := lines.setdefault(index, line)) != line:
            raise UserError(f"{path}: image {index} has two rows, in lines {first} and {line}; remove one of them")


def _to_log(path: Path, columns: Sequence[str], rows: Sequence[tuple[str, ...]], header: dict[str, Any] | None) -> Log:
    """Return the log of these rows; ``UserError`` if a cell is not a number where one is needed."""
    cells = dict(zip(columns, zip(*rows, strict=True), strict=True))

    def numbers(name: str, kind: Any, dtype: type) -> np.ndarray:
        try:
            return np.array([kind(cell) for cell in cells[name]], dtype=dtype)
        except (ValueError, OverflowError) as error:
            raise UserError(f"{path}, column '{name}': {error}") from None

    index, label, prediction = (numbers(name, int, np.int64) for name in ("idx", "label", "predict"))
    radius_column = next((name for name in ("radius_full", "radius") if name in cells), None)
    radius = numbers(radius_column, float, np.float64) if radius_column else np.zeros(len(rows))
    if not np.isfinite(radius).all():
        raise UserError(
            f"{path}, column '{radius_column}': a radius is not finite, image {index[~np.isfinite(radius)][0]}"
        )
    correct = (prediction >= 0) & (prediction == label)
    if "correct" in cells and (wrong := int((numbers("correct", float, np.float64) != correct).sum())):
        warnings.warn(f"{path}: 'correct' is not predict == label in {wrong} rows; recomputed", stacklevel=3)
    time = numbers("time", _seconds, np.float64) if "time" in cells else np.full(len(rows), math.nan)
    extra = {name: _array(cells[name]) for name in columns if name not in BASE_COLUMNS}
    norm = header["identity"].get("norm", "l2") if header else "l2"
    return Log(path, index, label, prediction, radius, correct, time, extra, header, norm, radius_column or "")


def _array(cells: Sequence[str]) -> np.ndarray:
    """Return a column as numbers if all its cells are numbers, else as text."""
    values = [parse_value(cell) for cell in cells]
    return np.array(cells if any(isinstance(value, str) for value in values) else values)


def _seconds(cell: str) -> float:
    """Return seconds from ``15.4``, ``0:02:31.238689`` or ``1 day, 0:02:31``."""
    match = _CLOCK.fullmatch(cell.strip())
    if match is None:
        return float(cell)
    days, hours, minutes, seconds = match.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)
