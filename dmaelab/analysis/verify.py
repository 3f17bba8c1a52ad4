"""Re-derive every radius of a log from its counts: what a reader of a log can check without the model."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmaelab.records.log import expected_indices, read_folders, read_header
from dmaelab.records.merge import check_complete
from dmaelab.records.row import WRONG_CLASS, parse_row
from dmaelab.stats.bounds import predict_pvalue
from dmaelab.stats.geometry import geometry_named
from dmaelab.stats.looks import Looks
from dmaelab.utils.errors import UserError

# Bounds are computed to about 1e-12 on any machine; a radius grows at most some thousand times as fast.
_TOLERANCE = 1e-8

Row = Mapping[str, Any]


def verify_log(folder: str | os.PathLike) -> tuple[int, list[str]]:
    """Recompute the claims of every row of a log; return the number of rows and a line for each claim that is too large.

    Bounds are recomputed from the looks that gave them (``look_a``, ``look_b``) and the levels of the header,
    radii from the bounds and the geometry of the noise. Rows that claim less than they could are fine.

    Raises:
        UserError: no log, missing or foreign images, or a certifier whose bounds are not known here.
    """
    header = read_header(Path(folder))
    table = read_folders([folder])
    check_complete(table, expected_indices(header))
    check = _Predicted(header["identity"]) if "p_value" in table.columns else _Certified(header["identity"])
    problems = []
    for index, cells in table.rows.items():
        row = parse_row(table.columns, cells)
        problems += [f"image {index}: {problem}" for problem in (*_base(row), *check(row))]
    return len(table.rows), problems


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
        certifier = identity["certifier"]
        if certifier["name"] not in ("cohen", "sequential"):
            raise UserError(f"the bounds of certifier '{certifier['name']}' are not known here: only cohen, sequential and predict are")
        self.looks = Looks(identity["n"], identity["alpha"], certifier.get("share", 0.0), certifier["weight"])
        self.geometry, self.sigma, self.tau = geometry_named(identity["geometry"]), identity["sigma"], identity["tau"]
        self.n0 = identity["n0"]

    def __call__(self, row: Row) -> list[str]:
        if row["stop_reason"] == WRONG_CLASS:
            honest = row["predict"] == row["top"] != row["label"] and row["radius"] == row["radius_full"] == 0
            return [] if honest else ["was skipped for its class, but claims a radius or has its label"]
        if broken := self._counts(row):
            return broken
        look_a, look_b = _look(row["look_a"]), _look(row["look_b"])
        p_lower, p_upper = self.looks.lower(*look_a), self.looks.upper_beside(*look_b)
        radius = self._radius(p_lower)
        two_sided = self._radius(self.looks.lower_beside(*look_a), p_upper)
        claims = [
            ("p_lower", row["p_lower"], p_lower),
            ("p_upper", 1 - row["p_upper"], 1 - p_upper),
            ("radius_full", row["radius_full"], max(radius, 0.0)),
            ("radius", row["radius"], row["radius_full"]),
            ("radius_two_sided", row["radius_two_sided"], max(two_sided, 0.0)),
        ]
        found = [
            f"{name} is too large, from the counts follows {most:.9g}" for name, claim, most in claims if not claim <= most + _TOLERANCE
        ]
        if row["predict"] >= 0 and not radius >= -_TOLERANCE:
            found.append("answers, but its counts certify nothing")
        return found

    def _radius(self, p_lower: float, p_upper: float | None = None) -> float:
        return self.geometry.radius_as_sampled(self.sigma, self.tau, p_lower, p_upper)

    def _counts(self, row: Row) -> list[str]:
        """The looks must lie within the samples that were drawn, and these within what was planned."""
        try:
            looks = [(*_look(row["look_a"]), row["count_a"]), (*_look(row["look_b"]), row["count_b"])]
        except (AttributeError, ValueError):
            return [f"look_a is {row['look_a']} and look_b {row['look_b']}: no counts to recompute from"]
        inside = all(0 <= count <= total <= row["n"] and (total < row["n"] or count == last) for count, total, last in looks)
        whole = row["count_a"] + row["count_b"] <= row["n"] <= self.looks.n and row["samples"] == row["n"] + row["n0"]
        return [] if inside and whole and row["n0"] == self.n0 else ["its counts contradict each other or the header"]


class _Predicted:
    """The claim of PREDICT: an answer has a p-value of at most alpha."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self.alpha = identity["alpha"]

    def __call__(self, row: Row) -> list[str]:
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
