"""Re-derive every claim of a log from its counts: what a reader of a log can check without the model.

The header says which certifier wrote the log, and with which options. The certifier is built again from these and
verifies each row itself. Nothing that a log names is imported: a plug-in must have been loaded before.
"""

import inspect
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmaelab.certifiers.build import ABSTAIN, CERTIFIERS, Case, Certifier, identity_of
from dmaelab.records.folders import expected_indices, read_folders, read_header
from dmaelab.records.merge import check_complete, identity_hash
from dmaelab.records.row import BASE_COLUMNS, parse_row
from dmaelab.stats.geometry import Geometry, geometry_named
from dmaelab.utils.differences import differences
from dmaelab.utils.errors import UserError

_STATISTICS = ("alpha", "n0", "n", "certifier")  # what identity_of gives
_NEEDED = (*_STATISTICS, "classes", "geometry", "norm", "sigma", "tau", "shape")


def verify_log(folder: str | os.PathLike[str]) -> tuple[int, list[str]]:
    """Recompute the claims of every row of a log; return the number of rows and a line for each claim that is too
    large.

    Bounds are recomputed from the counts of the row and the levels of the header, radii from the bounds and the
    geometry of the noise. Rows that claim less than they could are fine.

    Raises:
        UserError: no log, missing or foreign images, a header that contradicts itself, or a certifier or a geometry
            that is not known here or cannot be verified.
    """
    header = read_header(Path(folder))
    table = read_folders([folder])
    identity = header["identity"]
    if identity_hash(identity) != header["identity_hash"]:
        raise UserError("the identity in the header does not have the hash beside it: the header has been changed")
    if missing := [name for name in _NEEDED if name not in identity]:
        raise UserError(f"the identity in the header lacks {', '.join(missing)}: this log cannot be verified")
    certifier, case = certifier_of(identity), case_of(identity)
    _check_columns(header["columns"], certifier)
    check_complete(table, expected_indices(header))
    problems = []
    for index, cells in table.rows.items():
        found = problems_of(certifier, parse_row(table.columns, cells), case)
        problems += [f"image {index}: {problem}" for problem in found]
    return len(table.rows), problems


def is_verifiable(certifier: Certifier) -> bool:
    """Whether a certifier says how its rows are verified."""
    return type(certifier).verify is not Certifier.verify


def problems_of(certifier: Certifier, row: Mapping[str, Any], case: Case) -> list[str]:
    """Return what one row claims beyond what follows from its counts, a line for each problem.

    Args:
        certifier: that wrote the row, one that :func:`is_verifiable`.
        row: values by column, as :func:`dmaelab.records.row.parse_row` returns them.
        case: any image of the log; the row has the label.
    """
    try:
        return [*_shared_problems(row), *certifier.verify(row, case)]
    except (TypeError, ValueError, AttributeError, ArithmeticError):  # text or nan where there should be a number
        return ["is damaged, its cells are not what they should be"]


def certifier_of(identity: Mapping[str, Any]) -> Certifier:
    """Return the certifier that an identity describes, built from the registry with the same options.

    Raises:
        UserError: it is not registered, cannot be built, comes out with other options, or cannot be verified.
    """
    if not isinstance(identity["certifier"], dict):
        raise UserError(f"the header is damaged: its certifier is {identity['certifier']!r}")
    recorded = {key: identity[key] for key in _STATISTICS}
    name = recorded["certifier"].get("name")
    if name not in CERTIFIERS.names():
        raise UserError(f"the certifier {name!r} is not known here; {_plug_ins(identity)}")
    kind = CERTIFIERS.get(name)
    try:
        certifier: Certifier = kind(**_arguments(kind, recorded))
    except UserError:
        raise
    except Exception as error:  # whatever a constructor may raise when its options are of the wrong type
        raise UserError(f"the certifier {name!r} cannot be built from the options in the header: {error}") from error
    if different := differences(recorded, identity_of(certifier)):
        raise UserError(
            f"the certifier {name!r} built from the options in the header (there) has others (here):"
            f" {'; '.join(map(str, different))}"
        )
    if not is_verifiable(certifier):
        raise UserError(f"the certifier {name!r} does not say how its rows are verified: this log cannot be verified")
    return certifier


def case_of(identity: Mapping[str, Any]) -> Case:
    """Return what the certifier saw of every image of a log, apart from its label.

    The noise's total variation tau is the larger of what the header says and what its geometry gives.

    Raises:
        UserError: the geometry is not known here, or contradicts the header; sigma is not above 0.
    """
    geometry, sigma = _geometry_of(identity), identity["sigma"]
    if identity["norm"] != geometry.norm:
        raise UserError(f"the header says norm {identity['norm']}, but its geometry certifies {geometry.norm}")
    try:
        if not sigma > 0:
            raise UserError(f"the header says sigma {sigma}, which is no level of noise")
        tau = max(identity["tau"], geometry.tau(sigma, math.prod(identity["shape"])))
    except TypeError as error:  # text or None where there should be a number
        raise UserError(f"the header is damaged: its sigma, tau or shape is no number ({error})") from error
    return Case(identity["classes"], geometry, sigma, tau=tau)


def _geometry_of(identity: Mapping[str, Any]) -> Geometry:
    try:
        return geometry_named(identity["geometry"])
    except UserError as error:
        raise UserError(f"{error}; {_plug_ins(identity)}") from error


def _arguments(kind: Any, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded options that a constructor takes.

    It may set alpha, n0 or n itself, which the header has all the same. What is left out here is compared with the
    certifier that comes out.
    """
    apart = {key: value for key, value in recorded.items() if key != "certifier" and value is not None}
    options = {key: value for key, value in (recorded["certifier"] | apart).items() if key != "name"}
    parameters = inspect.signature(kind).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}


def _plug_ins(identity: Mapping[str, Any]) -> str:
    """Return what to do about something that the header names and nobody has registered."""
    if plugins := identity.get("plugins"):
        return f"the header names the plug-ins {plugins!r}: give --plugin MODULE for those that you trust"
    return "the header names no plug-in: give --plugin MODULE for the module that defines it, if you trust it"


def _check_columns(columns: list[Any], certifier: Certifier) -> None:
    if missing := [name for name in (*BASE_COLUMNS, *certifier.columns) if name not in columns]:
        raise UserError(f"the log lacks the columns {', '.join(missing)}: it cannot be verified")
    if twice := sorted({str(name) for name in columns if columns.count(name) > 1}):
        raise UserError(f"the log has the columns {', '.join(twice)} twice: nobody knows which of them counts")


def _shared_problems(row: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the columns that logs of all certifiers have."""
    found = []
    if row["correct"] != int(row["predict"] >= 0 and row["predict"] == row["label"]):
        found.append(f"correct is {row['correct']} for class {row['predict']} and label {row['label']}")
    if "top" in row and row["predict"] not in (ABSTAIN, row["top"]):
        found.append(f"predicts {row['predict']}, but selected {row['top']}")
    if row["predict"] == ABSTAIN and row["radius"] != 0:
        found.append(f"abstains with the radius {row['radius']}")
    return found
