"""A log with its radii replaced: by the two-sided radii, or by the radii converted to another norm."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dmaelab.records.readers import Log
from dmaelab.records.row import WRONG_CLASS
from dmaelab.stats.geometry import GaussianL2, Geometry, geometry_named
from dmaelab.utils.errors import UserError

TWO_SIDED = "radius_two_sided"


def parse_shape(text: str | None) -> tuple[int, int, int] | None:
    """Return ``(C, H, W)`` of a text such as ``3x32x32``, and None for None.

    Raises:
        UserError: the text is not of this form.
    """
    if text is None:
        return None
    if not (match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)):
        raise UserError(f"shape '{text}': write channels, height and width of the images, such as 3x32x32")
    channels, height, width = map(int, match.groups())
    return channels, height, width


def two_sided(log: Log) -> Log:
    """Return the log with its two-sided radii (column ``radius_two_sided``; Eq. 2 of the DMAE paper).

    They are another certificate from the same counts, at the same alpha. An image gets its selected class if its
    two-sided radius is positive, and abstains otherwise. Images that were skipped because their class is wrong stay
    wrong.

    Raises:
        UserError: the log has no such column, or no value in some row.
    """
    if TWO_SIDED not in log.extra or "top" not in log.extra:
        raise UserError(f"{log.path} has no two-sided radii: it lacks the columns top and {TWO_SIDED}")
    radius = log.extra[TWO_SIDED].astype(np.float64)
    missing = np.isnan(radius) & ~skipped(log)
    if missing.any():
        raise UserError(
            f"{log.path} has no two-sided radius in {missing.sum()} of its {len(log)} rows, because sampling stopped"
            " when the one-sided radius was decided: certify with cohen for two-sided tables"
        )
    positive = radius > 0
    prediction = np.where(positive | skipped(log), log.extra["top"], -1).astype(np.int64)
    correct = (prediction >= 0) & (prediction == log.label)
    return replace(
        log, prediction=prediction, radius=np.where(positive, radius, 0.0), correct=correct, radius_column=TWO_SIDED
    )


def skipped(log: Log) -> np.ndarray:
    """Return which images were skipped because their selected class is not their label, bool [rows]."""
    return log.extra["stop_reason"] == WRONG_CLASS if "stop_reason" in log.extra else np.zeros(len(log), dtype=bool)


def in_norm(log: Log, norm: str, shape: Sequence[int] | None = None) -> Log:
    """Return the log with its radii converted to another norm.

    Radii are in [0,1] pixel units; in l0 they are numbers of values that change. The header names the geometry of the
    noise, which does the conversion (:meth:`dmaelab.stats.geometry.Geometry.converted`). A log without a header is
    assumed to have Gaussian noise and radii in l2, like all public logs.

    Args:
        log: a log that has not been converted before.
        norm: one of :data:`dmaelab.stats.geometry.NORMS`.
        shape: ``[C, H, W]`` of the images; only used if the header does not say it.

    Raises:
        UserError: the shape is not known, the header names no geometry, or the noise certifies nothing in that norm.
        ValueError: the log has been converted already.
    """
    if norm == log.norm:
        return log
    if log.norm != native_norm(log):
        raise ValueError(f"{log.path} is converted already, from {native_norm(log)} to {log.norm}")
    shape = log.identity.get("shape") or shape or ()
    # From l2 to l1 needs no shape: the l1 ball of a radius lies in the l2 ball of the same radius.
    if not shape and (log.norm, norm) != ("l2", "l1"):
        raise UserError(f"{log.path} does not say what shape its images have: give --shape, such as 3x32x32")
    geometry, sigma = geometry_of(log), float(log.identity.get("sigma", np.nan))
    distinct, where = np.unique(log.radius, return_inverse=True)
    converted = np.array(
        [geometry.converted(float(radius), norm, sigma, tuple(shape)) for radius in distinct], dtype=np.float64
    )
    return replace(log, radius=converted[where], norm=norm)


def geometry_of(log: Log) -> Geometry:
    """Return the geometry of the noise that a log was certified with.

    A log in l2 whose header names no geometry has the geometry of Gaussian noise.

    Raises:
        UserError: the header names no geometry and its norm is not l2, or no imported module defines the geometry.
    """
    if name := log.identity.get("geometry"):
        try:
            return geometry_named(name)
        except UserError as error:
            raise UserError(
                f"{log.path}: {error}; load the module that defines it with --plugin, if you trust it"
            ) from error
    if native_norm(log) != "l2":
        raise UserError(f"the header of {log.path} names no geometry: its {log.norm} radii cannot be converted")
    return GaussianL2()


def native_norm(log: Log) -> str:
    """Return the norm in which the noise of a log certifies radii."""
    return log.identity.get("norm", "l2")


def norm_name(log: Log) -> str:
    """Return the norm of a log's radii as text, such as ``l2``, or ``linf from l2`` if they were converted."""
    native = native_norm(log)
    return native if log.norm == native else f"{log.norm} from {native}"
