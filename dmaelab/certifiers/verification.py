"""Verification of a log without the model: every bound and radius is recomputed from the counts.

The header says which certifier wrote the log, and with which options. The certifier is built again from these, and it
verifies each row. No module that a log names is ever imported: load plug-ins before.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import ABSTAIN
from dmaelab.certifiers.claims import TOLERANCE
from dmaelab.certifiers.identity import case_of, certifier_of, identity_of
from dmaelab.records.cells import cell_problems
from dmaelab.records.facts import check_facts
from dmaelab.records.folders import HEADER, expected_indices, read_header
from dmaelab.records.identity import STATISTICS
from dmaelab.records.indices import format_indices
from dmaelab.records.merge import check_complete, identity_hash
from dmaelab.records.row import BASE_COLUMNS, floor_radius, parse_row
from dmaelab.records.shards import check_text, read_shards
from dmaelab.utils.errors import UserError


def verify_log(folder: str | os.PathLike[str]) -> tuple[int, list[str]]:
    """Recompute the claims of every row of a log.

    Bounds are recomputed from the counts of the row and the options in the header, radii from the bounds and the
    geometry of the noise. A row may claim less than its counts allow. Header, files and cells must be as this package
    writes them.

    Returns:
        The number of rows, and a line for each claim that is too large and each row that contradicts itself.

    Raises:
        UserError: there is no log, it lacks images or holds images that do not belong to it, its header contradicts
            itself, a file is damaged, or its certifier or geometry is not registered or cannot be verified.
    """
    folder = Path(folder)
    header = read_header(folder)
    check_text(folder / HEADER)
    _check_header(header)
    identity = header["identity"]
    certifier = certifier_of(identity)
    if not is_verifiable(certifier):
        name = identity["certifier"]["name"]
        raise UserError(f"the certifier {name!r} does not define verify(row, case): this log cannot be verified")
    case = case_of(identity)
    _check_rebuilt(identity, certifier)
    _check_columns(header["columns"], certifier)
    indices = _images(header)
    table = read_shards(folder, header["columns"], indices)
    check_complete(table, indices)
    problems = []
    for index, cells in table.rows.items():
        row = parse_row(table.columns, cells)
        damaged = cell_problems(table.columns, cells, row)
        found = [f"is damaged: {problem}" for problem in damaged] or problems_of(certifier, row, case)
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
        found = [*_shared_problems(row, certifier, case), *certifier.verify(row, case)]
        return found or _above_its_bounds(row, case)
    except Exception as error:  # a certifier of the user's may raise anything for a row that makes no sense
        return [f"is damaged: its cells are not what they should be ({type(error).__name__})"]


def _check_header(header: Mapping[str, Any]) -> None:
    """Check that a header belongs to its identity, and that it is complete, with the right types and ranges."""
    if identity_hash(header["identity"]) != header["identity_hash"]:
        raise UserError("identity_hash in header.json does not match identity: the header was changed")
    check_facts(header)


def _check_rebuilt(identity: Mapping[str, Any], certifier: Certifier) -> None:
    """Check that the certifier that was built again says of itself what the header says, also in types of numbers."""
    recorded = {key: identity[key] for key in STATISTICS}
    if json.dumps(recorded, sort_keys=True) != json.dumps(rebuilt := identity_of(certifier), sort_keys=True):
        raise UserError(f"the header is damaged: it says {recorded}, of which the certifier makes {rebuilt}")


def _check_columns(columns: list[str], certifier: Certifier) -> None:
    """Check that the columns are those that the certifier writes, in its order."""
    own = [*BASE_COLUMNS, *certifier.columns]
    if missing := [name for name in own if name not in columns]:
        raise UserError(f"the log lacks the columns {', '.join(missing)}: it cannot be verified")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UserError(f"the log has the columns {', '.join(map(ascii, twice))} twice: it cannot be verified")
    if columns != own:
        raise UserError(
            f"the log has other columns than its certifier writes, which are {', '.join(own)}, in this order"
        )


def _images(header: Mapping[str, Any]) -> list[int]:
    """Return the indices of all images of a log; the text in the header must be the one that is written for them."""
    indices = expected_indices(header)
    if format_indices(set(indices)) != header["indices"]:
        raise UserError(f"the list of images in {HEADER} is not written as {format_indices(set(indices))[:40]!r}")
    return indices


def _shared_problems(row: Mapping[str, Any], certifier: Certifier, case: Case) -> list[str]:
    """Return the problems of the columns that all logs have, whatever their certifier.

    A label may be no class, such as -1 for "not known" in logs of earlier versions: then ``correct`` must be 0, because
    no answer equals the label. Such a row claims nothing about its label.
    """
    found = []
    for name in ("predict", "top", "runner_up"):
        kind = row.get(name, math.nan)
        # Outputs that are not finite are one more class, which can only be the runner-up.
        most = case.num_classes - (name != "runner_up")
        if not (0 <= kind <= most or (name, kind) == ("predict", ABSTAIN) or math.isnan(kind)):
            found.append(f"names class {kind}, but the classifier has {case.num_classes} classes: {name}")
    if row["correct"] != int(row["predict"] >= 0 and row["predict"] == row["label"]):
        found.append(f"correct is {row['correct']} for class {row['predict']} and label {row['label']}")
    if "top" in row and row["predict"] not in (ABSTAIN, row["top"]):
        found.append(f"predicts {row['predict']}, but selected {row['top']}")
    if "top" in row and row["top"] == row.get("runner_up"):
        found.append(f"its runner-up is the selected class {row['top']} itself")
    reasons = certifier.stop_reasons
    if reasons and "stop_reason" in row and row["stop_reason"] not in reasons:
        found.append(f"stop_reason is {row['stop_reason']!r}, which is none of {', '.join(reasons)}")
    return found + _radius_problems(row, case)


def _radius_problems(row: Mapping[str, Any], case: Case) -> list[str]:
    """Return the problems of the two columns of the radius."""
    radius, full = row["radius"], row.get("radius_full", row["radius"])
    if row["predict"] == ABSTAIN:
        return [f"abstains with the radius {max(radius, full)}"] if (radius, full) != (0, 0) else []
    if math.isnan(full):
        return ["answers without radius_full"]
    if "radius_full" in row and radius != float(rounded := floor_radius(full)):
        return [f"radius is too {'large' if radius > full else 'small'}, radius_full rounded down is {rounded}"]
    return []


def _above_its_bounds(row: Mapping[str, Any], case: Case) -> list[str]:
    """Return a problem if an answer has a radius above what the bounds in the same row give."""
    p_lower, p_upper = (row.get(name, math.nan) for name in ("p_lower", "p_upper"))
    if row["predict"] == ABSTAIN or math.isnan(p_lower):
        return []
    most = max(case.radius(p_lower), case.radius(p_lower, None if math.isnan(p_upper) else p_upper), 0.0)
    radius = row.get("radius_full", row["radius"])
    return [] if radius <= most + TOLERANCE else [f"has the radius {radius}, its bounds give {most:.9g}"]
