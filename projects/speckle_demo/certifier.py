"""CERTIFY with two looks: images that are certified far enough early cost a fraction of the samples."""

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
    """CERTIFY that stops after a first look if the radius wanted is certified by then (union bound).

    The class is the most frequent of n0 samples, as in CERTIFY (Cohen et al., 2019). Then the first
    ``n_first`` of n estimation samples give a Clopper-Pearson bound at level ``share * alpha``; if its
    radius reaches ``target`` that is the certificate. Otherwise all n samples, the first ones among
    them, give a bound at level ``(1 - share) * alpha``.

    It is sound because each bound exceeds the true probability with at most its level, so that either
    does with at most the sum (Bonferroni), which is alpha, whatever decides between the two. The
    price is a slightly smaller radius than CERTIFY's where the first look does not stop.

    Args:
        n0: samples that select the class.
        n: samples of the second look, at most drawn for an image.
        alpha: probability with which a certificate may be wrong.
        n_first: samples of the first look, fewer than n.
        share: part of alpha that the first look may spend, in (0, 1).
        target: radius that is enough, in [0,1] pixel units.

    Raises:
        UserError: an argument out of its range.
    """

    columns = (*CERTIFY_COLUMNS, "alpha_look")
    """``alpha_look`` is the level of the bound in the row: what re-deriving p_lower from ``look_a`` needs."""

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
            raise UserError(f"certifier.share is {share}: give the part of alpha for the first look, in (0, 1)")
        if not target >= 0:
            raise UserError(
                f"certifier.target is {target}: give the radius that is enough, at least 0, in [0,1] pixel units"
            )
        self.n_first, self.share, self.target = int(n_first), float(share), float(target)
        self.n0 = sample_count("n0", n0)
        super().__init__(n, alpha)

    def smallest_n(self) -> int:
        """Return the least n with which the second look could answer at its share of alpha."""
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
        """Return the samples of each look, and the part of alpha that its bound may spend."""
        return {self.n_first: self.share * self.alpha, self.n: (1 - self.share) * self.alpha}

    def verify(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Return what a row claims beyond its counts: the bound at the level of its look, and the radius of that."""
        count, n = look_of(row["look_a"])
        levels, planned = self.levels(), (row["n"], row["n0"], row["samples"]) == (n, self.n0, self.n0 + n)
        if not (planned and n in levels and count == row["count_a"] and votes_add_up(row, case.num_classes)):
            return ["its counts contradict each other or the header"]
        p_lower = clopper_pearson_lower(count, n, levels[n])
        radius = case.radius(p_lower)
        found = [
            *too_large("p_lower", row["p_lower"], p_lower),
            *too_large("radius_full", row["radius_full"], max(radius, 0.0)),
            *too_large("radius", row["radius"], row["radius_full"]),
        ]
        if not math.isclose(row["alpha_look"], levels[n]):
            found.append(f"alpha_look is {row['alpha_look']}, its look has {levels[n]}")
        if row["predict"] >= 0 and not radius >= -TOLERANCE:
            found.append("answers, but its counts certify nothing")
        if not (math.isnan(row["p_upper"]) and math.isnan(row["radius_two_sided"])):
            found.append("claims an upper bound or a two-sided radius, which this certifier does not make")
        return found
