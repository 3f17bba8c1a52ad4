"""Verification of a log without the model: every bound and radius is recomputed from the counts.

The header says which certifier wrote the log, and with which options. The certifier is built again from these, and it
verifies each row. No module that a log names is ever imported: load plug-ins before.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import ABSTAIN
from dmaelab.certifiers.identity import case_of, certifier_of
from dmaelab.records.folders import expected_indices, read_folders, read_header
from dmaelab.records.identity import STATISTICS
from dmaelab.records.merge import check_complete, identity_hash
from dmaelab.records.row import BASE_COLUMNS, parse_row
from dmaelab.utils.errors import UserError

_NEEDED = (*STATISTICS, "classes", "geometry", "norm", "sigma", "tau", "shape")


def verify_log(folder: str | os.PathLike[str]) -> tuple[int, list[str]]:
    """Recompute the claims of every row of a log.

    Bounds are recomputed from the counts of the row and the options in the header, radii from the bounds and the
    geometry of the noise. A row may claim less than its counts allow.

    Returns:
        The number of rows, and a line for each claim that is too large.

    Raises:
        UserError: there is no log, it lacks images or holds images that do not belong to it, its header contradicts
            itself, or its certifier or geometry is not registered or cannot be verified.
    """
    header = read_header(Path(folder))
    table = read_folders([folder])
    identity = header["identity"]
    if identity_hash(identity) != header["identity_hash"]:
        raise UserError("identity_hash in header.json does not match identity: the header was changed")
    if missing := [name for name in _NEEDED if name not in identity]:
        raise UserError(f"the identity in the header lacks {', '.join(missing)}: this log cannot be verified")
    certifier = certifier_of(identity)
    if not is_verifiable(certifier):
        name = identity["certifier"]["name"]
        raise UserError(f"the certifier {name!r} does not define verify(row, case): this log cannot be verified")
    case = case_of(identity)
    _check_columns(header["columns"], certifier)
    check_complete(table, expected_indices(header))
    problems = []
    for index, cells in table.rows.items():
        found = problems_of(certifier, parse_row(table.columns, cells), case)
        problems += [f"image {index}: {problem}" for problem in found]
    return len(table.rows), problems


def is_verifiable(certifier: Certifier) -> bool:
    """Whether a certifier defines ``verify``."""
    return type(certifier).verify is not Certifier.verify


def problems_of(certifier: Certifier, row: Mapping[str, Any], case: Case) -> list[str]:
    """Return a line for each problem of one row, such as a claim that is larger than its counts allow.

    Args:
        certifier: the certifier that wrote the row; :func:`is_verifiable` must be true for it.
        row: values by column, as :func:`dmaelab.records.row.parse_row` returns them.
        case: any image of the log; the label is taken from the row.
    """
    try:
        return [*_shared_problems(row, case), *certifier.verify(row, case)]
    except (TypeError, ValueError, AttributeError, ArithmeticError):  # text or nan instead of a number
        return ["is damaged, its cells are not what they should be"]


def _check_columns(columns: list[Any], certifier: Certifier) -> None:
    if missing := [name for name in (*BASE_COLUMNS, *certifier.columns) if name not in columns]:
        raise UserError(f"the log lacks the columns {', '.join(missing)}: it cannot be verified")
    if twice := sorted({str(name) for name in columns if columns.count(name) > 1}):
        raise UserError(f"the log has the columns {', '.join(twice)} twice: it cannot be verified")


def _shared_problems(row: Mapping[str, Any], case: Case) -> list[str]:
    """Return the problems of the columns that all logs have, whatever their certifier."""
    found = []
    for kind in dict.fromkeys(row[name] for name in ("predict", "top") if name in row):
        if kind != ABSTAIN and not 0 <= kind < case.num_classes:
            found.append(f"names class {kind}, but the classifier has {case.num_classes} classes")
    if row["correct"] != int(row["predict"] >= 0 and row["predict"] == row["label"]):
        found.append(f"correct is {row['correct']} for class {row['predict']} and label {row['label']}")
    if "top" in row and row["predict"] not in (ABSTAIN, row["top"]):
        found.append(f"predicts {row['predict']}, but selected {row['top']}")
    if row["predict"] == ABSTAIN and (radius := max(row["radius"], row.get("radius_full", 0))) != 0:
        found.append(f"abstains with the radius {radius}")
    return found
