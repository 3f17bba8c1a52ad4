"""Re-derive every radius of a log from its counts: what a reader of a log can check without the model."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmaelab.records.folders import expected_indices, read_folders, read_header
from dmaelab.records.merge import check_complete, identity_hash
from dmaelab.records.row import WRONG_CLASS, parse_row
from dmaelab.stats.bounds import predict_pvalue
from dmaelab.stats.geometry import geometry_named
from dmaelab.stats.looks import Looks
from dmaelab.utils.errors import UserError

# Bounds are computed to about 1e-12 on any machine; a radius grows at most some thousand times as fast.
_TOLERANCE = 1e-8

Row = Mapping[str, Any]


def verify_log(folder: str | os.PathLike) -> tuple[int, list[str]]:
    """Recompute the claims of every row of a log; return the number of rows and a line for each claim that is too
    large.

    Bounds are recomputed from the looks that gave them (``look_a``, ``look_b``) and the levels of the header,
    radii from the bounds and the geometry of the noise. Rows that claim less than they could are fine.

    Raises:
        UserError: no log, missing or foreign images, a header that contradicts itself, or a certifier whose bounds are
            not known here.
    """
    header = read_header(Path(folder))
    table = read_folders([folder])
    try:
        check = _check_of(header)
        check_complete(table, expected_indices(header))
    except KeyError as error:
        raise UserError(f"{folder}: the identity in the header lacks {error}: this log cannot be verified") from None
    problems = []
    for index, cells in table.rows.items():
        row = parse_row(table.columns, cells)
        try:
            found = [*_base(row), *check(row)]
        except (TypeError, ValueError, AttributeError):  # text or nan where there should be a number
            found = ["is damaged, its cells are not what they should be"]
        problems += [f"image {index}: {problem}" for problem in found]
    return len(table.rows), problems


def _check_of(header: Mapping[str, Any]) -> "_Certified | _Predicted":
    """Return the check of the certifier that a header names, after a look at the header itself."""
    identity = header["identity"]
    if identity_hash(identity) != header["identity_hash"]:
        raise UserError("the identity in the header does not have the hash beside it: the header has been changed")
    if identity["certifier"]["name"] == "predict":
        return _Predicted(identity)
    return _Certified(identity)


def _base(row: Row) -> list[str]:
    """What holds for the first columns of any log."""
    found = []
    if row["correct"] != int(row["predict"] >= 0 and row["predict"] == row["label"]):
        found.append(f"correct is {row['correct']} for class {row['predict']} and label {row['label']}")
    if row["predict"] not in (-1, row["top"]):
        found.append(f"predicts {row['predict']}, but selected {row['top']}")
    if row["predict"] == -1 and row["radius"] != 0:
        found.append(f"abstains with the radius {row['radius']}")
    return found


class _Certified:
    """The claims of the two stages of CERTIFY, with a fixed n or looks in between."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self.certifier, self.classes, self.n0 = identity["certifier"], identity["classes"], identity["n0"]
        if self.certifier["name"] not in ("cohen", "sequential"):
            raise UserError(
                f"the bounds of certifier '{self.certifier['name']}' are not known here: only cohen, sequential and"
                " predict are"
            )
        self.looks = Looks(identity["n"], identity["alpha"], self.certifier.get("share", 0.0), self.certifier["weight"])
        self.geometry, self.sigma = geometry_named(identity["geometry"]), identity["sigma"]
        if identity["norm"] != self.geometry.norm:
            raise UserError(f"the header says norm {identity['norm']}, but its geometry certifies {self.geometry.norm}")
        self.tau = max(identity["tau"], self.geometry.tau(self.sigma, math.prod(identity["shape"])))

    def __call__(self, row: Row) -> list[str]:
        if row["stop_reason"] == WRONG_CLASS:
            return self._skipped(row)
        look_a, look_b = _look(row["look_a"]), _look(row["look_b"])
        if not self._consistent(row, look_a, look_b):
            return ["its counts contradict each other or the header"]
        p_lower, p_upper = self.looks.lower(*look_a), self.looks.upper_beside(*look_b)
        radius, two_sided = self._radius(p_lower), self._radius(self.looks.lower_beside(*look_a), p_upper)
        claims = [
            ("p_lower", row["p_lower"], p_lower),
            ("p_upper", 1 - row["p_upper"], 1 - p_upper),
            ("radius_full", row["radius_full"], max(radius, 0.0)),
            ("radius", row["radius"], row["radius_full"]),
        ]
        if not math.isnan(row["radius_two_sided"]):  # given up before it was known
            claims.append(("radius_two_sided", row["radius_two_sided"], max(two_sided, 0.0)))
        found = [
            f"{name} is too large, from the counts follows {most:.9g}"
            for name, claim, most in claims
            if not claim <= most + _TOLERANCE
        ]
        if row["predict"] >= 0 and not radius >= -_TOLERANCE:
            found.append("answers, but its counts certify nothing")
        return found

    def _skipped(self, row: Row) -> list[str]:
        claims = [row[name] for name in ("p_lower", "p_upper", "radius_two_sided")]
        honest = (
            row["predict"] == row["top"] != row["label"]
            and row["radius"] == row["radius_full"] == 0
            and all(map(math.isnan, claims))
        )
        return (
            []
            if honest and self.certifier["skip_wrong"]
            else ["was skipped for its class, but claims something or should not have been"]
        )

    def _radius(self, p_lower: float, p_upper: float | None = None) -> float:
        return self.geometry.radius_as_sampled(self.sigma, self.tau, p_lower, p_upper)

    def _consistent(self, row: Row, look_a: tuple[int, int], look_b: tuple[int, int]) -> bool:
        """Whether the looks lie within the samples that were drawn, and these within what was planned.

        What a look counted can neither shrink later nor grow by more than the samples after it; the
        largest of the other counts (K classes, non-finite outputs among them) is at least their mean.
        """
        n, count_a, count_b = row["n"], row["count_a"], row["count_b"]
        within = all(
            0 <= count <= min(total, last) and total <= n and last - count <= n - total
            for (count, total), last in ((look_a, count_a), (look_b, count_b))
        )
        shared = count_a + count_b <= n <= count_a + self.classes * count_b
        planned = n <= self.looks.n and row["n0"] == self.n0 and row["samples"] == row["n"] + row["n0"]
        return within and shared and planned


class _Predicted:
    """The claim of PREDICT: an answer has a p-value of at most alpha, and no radius."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self.alpha, self.n = identity["alpha"], identity["n"]

    def __call__(self, row: Row) -> list[str]:
        if row["radius"] != 0 or not row["count_a"] + row["count_b"] <= row["n"] == self.n:
            return ["claims a radius, or its counts contradict the header"]
        p_value = predict_pvalue(row["count_a"], row["count_b"]) if row["count_a"] >= row["count_b"] else 1.0
        if row["predict"] >= 0 and not p_value <= self.alpha:
            return [f"answers with the p-value {p_value:.3g}, above alpha"]
        return (
            []
            if math.isclose(row["p_value"], p_value, rel_tol=1e-6)
            else [f"p_value is {row['p_value']}, from the counts follows {p_value}"]
        )


def _look(cell: str) -> tuple[int, int]:
    count, total = map(int, cell.split("/"))
    return count, total
