"""Verification of a log without the model: every bound and radius is recomputed from the counts.

The header says which certifier wrote the log, and with which options. The certifier is built again from these, and it
verifies each row. No module that a log names is ever imported: load plug-ins before.
"""

import inspect
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmaelab.certifiers.build import ABSTAIN, CERTIFIERS, Case, Certifier, identity_of, sampled_sigma
from dmaelab.records.folders import expected_indices, read_folders, read_header
from dmaelab.records.merge import check_complete, identity_hash
from dmaelab.records.row import BASE_COLUMNS, parse_row
from dmaelab.stats.geometry import Geometry, geometry_named
from dmaelab.utils.differences import differences, listed
from dmaelab.utils.errors import UserError

_STATISTICS = ("alpha", "n0", "n", "certifier")  # what identity_of gives
_NEEDED = (*_STATISTICS, "classes", "geometry", "norm", "sigma", "tau", "shape")


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


def certifier_of(identity: Mapping[str, Any]) -> Certifier:
    """Return the certifier that the identity of a log describes, built with the options in it.

    Raises:
        UserError: the certifier is not registered, cannot be built from the options, then has other options, or does
            not define ``verify``.
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
    except Exception as error:  # a constructor may raise anything if its options are of the wrong type
        raise UserError(f"the certifier {name!r} cannot be built from the options in the header: {error}") from error
    if different := differences(recorded, identity_of(certifier)):
        raise UserError(
            f"the certifier {name!r} built from the options in the header (there) has others (here):"
            f" {listed(different)}"
        )
    if not is_verifiable(certifier):
        raise UserError(f"the certifier {name!r} does not define verify(row, case): this log cannot be verified")
    return certifier


def case_of(identity: Mapping[str, Any]) -> Case:
    """Return the :class:`Case` that the certifier got for every image of a log, without the label.

    Its tau is the larger one of the header's value and the value that the geometry gives.

    Raises:
        UserError: the geometry is not registered or contradicts the header, or sigma is not above 0.
    """
    geometry, sigma = _geometry_of(identity), identity["sigma"]
    for name in ("norm", "fp_sound"):
        if identity.get(name, getattr(geometry, name)) != getattr(geometry, name):
            raise UserError(
                f"the header says {name} {identity[name]!r}, but of its geometry {name} is {getattr(geometry, name)!r}"
            )
    try:
        shape, batch = identity["shape"], identity.get("batch_shape", [0, *identity["shape"]])
        if len(shape) != 3 or batch[1:] != shape:
            raise UserError(f"the header is damaged: its shape {shape} is not [C,H,W], or not that of its batches")
        if not sigma > 0:
            raise UserError(f"the header says sigma {sigma}, but the level of noise must be above 0")
        tau = max(identity["tau"], geometry.tau(sigma, math.prod(shape)))
    except TypeError as error:  # text or None instead of a number
        raise UserError(f"the header is damaged: its sigma, tau or shape is no number ({error})") from error
    return Case(identity["classes"], geometry, sampled_sigma(sigma), tau=tau)


def _geometry_of(identity: Mapping[str, Any]) -> Geometry:
    try:
        return geometry_named(identity["geometry"])
    except UserError as error:
        raise UserError(f"{error}; {_plug_ins(identity)}") from error


def _arguments(kind: Any, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded options that the constructor of a certifier accepts.

    A constructor may set alpha, n0 or n itself and not accept them, but the header always has them. The options that
    are left out here are checked later: they must be those of the certifier that was built.
    """
    apart = {key: value for key, value in recorded.items() if key != "certifier" and value is not None}
    options = {key: value for key, value in (recorded["certifier"] | apart).items() if key != "name"}
    parameters = inspect.signature(kind).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}


def _plug_ins(identity: Mapping[str, Any]) -> str:
    """Return the advice for a certifier or geometry that is not registered: which plug-ins to load."""
    if plugins := identity.get("plugins"):
        return f"the header names the plug-ins {plugins!r}: give --plugin MODULE for those that you trust"
    return "the header names no plug-in: give --plugin MODULE for the module that defines it, if you trust it"


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
