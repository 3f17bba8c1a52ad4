"""What the identity of a log says about its certifier, and the certifier and the :class:`Case` built from it again."""

import math
from collections.abc import Mapping
from typing import Any

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.build import CERTIFIERS
from dmaelab.certifiers.case import Case, sampled_sigma
from dmaelab.records.identity import STATISTICS
from dmaelab.stats.geometry import Geometry, geometry_named
from dmaelab.utils.differences import differences, listed
from dmaelab.utils.errors import UserError
from dmaelab.utils.signatures import signature_of


def identity_of(certifier: Certifier) -> dict[str, Any]:
    """Return the entries of a log's identity that describe its certifier: alpha, n0, n and certifier.

    ``certifier`` is a dict with the name and the other options. ``n0`` is None if the certifier has no such option.

    Raises:
        UserError: an option is not a plain value.
    """
    options = CERTIFIERS.name_and_options(certifier)
    apart = {option: options.pop(option, None) for option in ("alpha", "n0", "n")}
    return {**apart, "certifier": options}


def certifier_of(identity: Mapping[str, Any]) -> Certifier:
    """Return the certifier that the identity of a log describes, built with the options in it.

    Raises:
        UserError: the certifier is not registered, cannot be built from the options, or then has other options.
    """
    if not isinstance(identity["certifier"], dict):
        raise UserError(f"the header is damaged: its certifier is {identity['certifier']!r}")
    recorded = {key: identity[key] for key in STATISTICS}
    name = recorded["certifier"].get("name")
    if name not in CERTIFIERS.names():
        raise UserError(f"the certifier {name!r} is not known here; {_plug_ins(identity)}")
    try:
        certifier: Certifier = CERTIFIERS.build(name, **_options(name, recorded))
    except UserError:
        raise
    except Exception as error:  # a constructor may raise anything if its options are of the wrong type
        raise UserError(f"the certifier {name!r} cannot be built from the options in the header: {error}") from error
    if different := differences(recorded, identity_of(certifier)):
        raise UserError(
            f"the certifier {name!r} built from the options in the header (there) has others (here):"
            f" {listed(different)}"
        )
    return certifier


def case_of(identity: Mapping[str, Any]) -> Case:
    """Return the :class:`Case` that the certifier got for every image of a log, without the label.

    Args:
        identity: of a header that :func:`dmaelab.records.facts.check_facts` accepts.

    Raises:
        UserError: the geometry is not registered, or the header contradicts it or itself.
    """
    geometry, sigma = _geometry_of(identity), identity["sigma"]
    for name in ("norm", "fp_sound"):
        if identity[name] != getattr(geometry, name):
            raise UserError(
                f"the header says {name} {identity[name]!r}, but of its geometry {name} is {getattr(geometry, name)!r}"
            )
    shape = identity["shape"]
    if identity["batch_shape"][1:] != shape:
        raise UserError(f"the header is damaged: its shape {shape} is not that of its batches")
    tau = geometry.tau(sigma, math.prod(shape))
    if not math.isclose(identity["tau"], tau, rel_tol=1e-9):
        raise UserError(f"the header says tau {identity['tau']}, but of its geometry tau is {tau}")
    return Case(identity["classes"], geometry, sampled_sigma(sigma), tau=tau)


def _geometry_of(identity: Mapping[str, Any]) -> Geometry:
    try:
        return geometry_named(identity["geometry"])
    except UserError as error:
        raise UserError(f"{error}; {_plug_ins(identity)}") from error


def _options(name: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded options that the constructor of a certifier accepts.

    A constructor may set alpha, n0 or n itself and not accept them, but the header always has them. The options that
    are left out here are checked later: they must be those of the certifier that was built.
    """
    apart = {key: value for key, value in recorded.items() if key != "certifier" and value is not None}
    options = {key: value for key, value in (recorded["certifier"] | apart).items() if key != "name"}
    return signature_of(CERTIFIERS.get(name), name).accepted(options)


def _plug_ins(identity: Mapping[str, Any]) -> str:
    """Return the advice for a certifier or geometry that is not registered: which plug-ins to load."""
    if plugins := identity.get("plugins"):
        return f"the header names the plug-ins {plugins!r}: give --plugin MODULE for those that you trust"
    return "the header names no plug-in: give --plugin MODULE for the module that defines it, if you trust it"
