"""CERTIFY with two looks: an image that reaches the target radius at the first look needs fewer samples."""

import math
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from dmaelab.certifiers import (
    ABSTAIN,
    CERTIFIERS,
    Case,
    Certificate,
    Certifier,
    Votes,
    runner_up,
    sample_count,
    select,
)
from dmaelab.certifiers.claims import TOLERANCE, look_of, too_large, votes_add_up
from dmaelab.records.row import CERTIFY_COLUMNS
from dmaelab.stats.bounds import clopper_pearson_lower, smallest_n
from dmaelab.utils.errors import UserError


@CERTIFIERS.register("cohen_two_looks")
class CohenTwoLooks(Certifier):
    """CERTIFY that stops after a first look if this look certifies the target radius.

    The class is the most frequent one of n0 samples, as in CERTIFY (Cohen et al., 2019). The first
    ``n_first`` of n estimation samples give a Clopper-Pearson bound at level ``share * alpha``. If its
    radius reaches ``target``, it is the certificate. Otherwise all n samples, including the first ones,
    give a bound at level ``(1 - share) * alpha``.

    Each bound is too high with a probability of at most its level. So the probability that one of them
    is too high is at most the sum of the levels, which is alpha (Bonferroni). This holds whatever
    decides between the two bounds. In return, the radius is slightly smaller than that of CERTIFY if
    the first look does not stop.

    Args:
        n0: samples that select the class.
        n: samples of the second look, the most that are drawn for an image.
        alpha: probability with which a certificate may be wrong.
        n_first: samples of the first look, fewer than n.
        share: part of alpha that the first look may spend, in (0, 1).
        target: radius at which the first look stops, in [0,1] pixel units.

    Raises:
        UserError: an argument is out of its range.
    """

    columns = (*CERTIFY_COLUMNS, "alpha_look")
    """``alpha_look`` is the level of the bound in the row. It is needed to recompute p_lower from ``look_a``."""

    stop_reasons = ("first_look", "n")

    def __init__(
        self,
        n0: int = 100,
        n: int = 10_000,
        alpha: float = 0.001,
        n_first: int = 1000,
        share: float = 0.2,
        target: float = 0.25,
    ) -> None:
        if not 1 <= n_first < n:
            raise UserError(
                f"certifier.n_first is {n_first}: the first look takes at least 1 and fewer than n = {n} samples"
            )
        if not 0 < share < 1:
            raise UserError(f"certifier.share is {share}: give the part of alpha for the first look, between 0 and 1")
        if not target >= 0:
            raise UserError(
                f"certifier.target is {target}: give the radius at which the first look stops, at least 0, in [0,1]"
                " pixel units"
            )
        self.n_first, self.share, self.target = int(n_first), float(share), float(target)
        self.n0 = sample_count("n0", n0)
        super().__init__(n, alpha)

    def smallest_n(self) -> int:
        """Return the smallest n with which the second look can certify at its share of alpha."""
        return smallest_n((1 - self.share) * self.alpha)

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Certify one image."""
        top = select((yield Votes("selection", self.n0)))
        for (n, alpha), enough in zip(self.levels().items(), (self.target, 0.0), strict=True):
            counts = yield Votes("estimation", n)
            count_a = int(counts[top])
            p_lower = clopper_pearson_lower(count_a, n, alpha)
            radius = case.radius(p_lower)
            certified = radius >= enough
            if certified:
                break
        second, count_b = runner_up(counts, top)
        return Certificate(
            prediction=top if certified else ABSTAIN,
            radius=radius if certified else 0.0,
            top=top,
            n=n,
            n0=self.n0,
            p_lower=p_lower,
            count_a=count_a,
            count_b=count_b,
            runner_up=second,
            look_a=f"{count_a}/{n}",
            stop_reason="first_look" if n == self.n_first else "n",
            extra={"alpha_look": alpha},
        )

    def levels(self) -> dict[int, float]:
        """Return the number of samples of each look -> the part of alpha that its bound may spend."""
        return {self.n_first: self.share * self.alpha, self.n: (1 - self.share) * self.alpha}

    def verify(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Return the claims of a row that are larger than its counts allow.

        The bound is recomputed at the level of its look, and the radius from the bound.
        """
        count, n = look_of(row["look_a"])
        levels, planned = self.levels(), (row["n"], row["n0"], row["samples"]) == (n, self.n0, self.n0 + n)
        if not (planned and n in levels and count == row["count_a"] and votes_add_up(row, case.num_classes)):
            return ["its counts contradict each other or the header"]
        p_lower = clopper_pearson_lower(count, n, levels[n])
        radius = case.radius(p_lower)
        first = n == self.n_first
        if first != (row["stop_reason"] == "first_look") or (first and not radius >= self.target - TOLERANCE):
            return [f"would not have stopped after {n} samples as {row['stop_reason']!r}"]
        found = [
            *too_large("p_lower", row["p_lower"], p_lower),
            *too_large("radius_full", row["radius_full"], max(radius, 0.0)),
        ]
        if not math.isclose(row["alpha_look"], levels[n]):
            found.append(f"alpha_look is {row['alpha_look']}, its look has {levels[n]}")
        if row["predict"] >= 0 and not radius >= -TOLERANCE:
            found.append("answers, but its counts certify nothing")
        if not all(str(row[name]) == "nan" for name in ("p_upper", "radius_two_sided", "look_b")):
            found.append("claims an upper bound or a two-sided radius, which this certifier does not make")
        return found
