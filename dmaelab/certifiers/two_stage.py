"""What two-stage certifiers share: select a class, then estimate its probability on fresh samples."""

import math
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from dmaelab.certifiers.build import ABSTAIN, Case, Certificate, Certifier, Votes, runner_up, sample_count, select
from dmaelab.certifiers.claims import TOLERANCE, look_of, too_large, too_small, votes_add_up
from dmaelab.records.row import WRONG_CLASS
from dmaelab.stats.bounds import smallest_n
from dmaelab.stats.looks import Looks
from dmaelab.utils.errors import UserError

CERTIFIED = "certified"
"""``stop_reason`` of a row that has all that was asked for before the last look."""


class TwoStage(Certifier):
    """Base of certifiers that select a class on n0 samples and bound its probability on up to n others.

    The class is fixed before the first estimation sample, so the choice costs no part of alpha. Two radii
    follow from the same counts: the one-sided ``radius`` of Cohen et al. (2019), and ``radius_two_sided``
    from a bound of the other classes as well (DMAE paper, Eq. 2), 0 where that certifies nothing, nan where
    sampling was given up for the one-sided radius before that is known. Each alone is wrong with probability
    at most alpha; quoting both for one image, at most (2 - weight) alpha.

    Args:
        n0: samples that select the class.
        n: samples that estimate its probability, at most.
        alpha: probability with which a certificate may be wrong.
        weight: part of alpha for the lower bound of the two-sided radius, the rest for its upper bound.
        skip_wrong: draw no estimation samples where the selected class is not the label. Certified accuracy
            stays what it is; abstention is then unknown, and the log is for evaluation alone.
    """

    share = 0.0
    """Part of alpha for early looks."""

    def __init__(
        self, n0: int = 100, n: int = 100_000, alpha: float = 0.001, weight: float = 0.9, skip_wrong: bool = False
    ) -> None:
        self.n0 = sample_count("n0", n0)
        super().__init__(n, alpha)
        if not 0 < weight < 1:
            raise UserError(
                f"certifier.weight is {weight}: give the part of alpha for the lower bound, in (0, 1), such as 0.9"
            )
        if not isinstance(skip_wrong, bool):
            raise UserError(f"certifier.skip_wrong is {skip_wrong!r}: give True or False")
        self.weight, self.skip_wrong = float(weight), skip_wrong
        self._looks = Looks(self.n, self.alpha, self.share, self.weight)

    def smallest_n(self) -> int:
        """Return the least n with which the last look could certify at all."""
        return smallest_n((1 - self.share) * self.alpha)

    def options(self) -> dict[str, Any]:
        """Return the arguments of the constructor as the header of a log holds them."""
        return super().options() | {"n0": self.n0, "weight": self.weight}

    def check(self, case: Case) -> None:
        """Refuse to skip by labels that are not known."""
        if self.skip_wrong and case.label is None:
            raise UserError(
                "certifier.skip_wrong needs the label of the image: it is for evaluation on a labelled data set"
            )

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Certify one image: select, perhaps skip, estimate (Cohen et al., 2019, Algorithm CERTIFY)."""
        top = select((yield Votes("selection", self.n0)))
        if self.skip_wrong and case.label not in (None, top):
            return Certificate(prediction=top, top=top, n=0, n0=self.n0, stop_reason=WRONG_CLASS)
        return (yield from self.estimate(case, top))

    def estimate(self, case: Case, top: int) -> Generator[Votes, np.ndarray, Certificate]:
        """Ask for votes of the stream ``"estimation"`` and return :meth:`conclude` of them."""
        raise NotImplementedError(f"{type(self).__name__} must define estimate(case, top)")

    def conclude(
        self, case: Case, top: int, counts: np.ndarray, look: tuple[int, int], stop_reason: str
    ) -> Certificate:
        """Return the certificate that follows from the counts of the last look, and the look with the best lower bound.

        Args:
            case: the image.
            top: the selected class.
            counts: int64 [K+1] of the last look.
            look: ``(count, total)`` of the look that gives p_lower, the last or an earlier one.
            stop_reason: why no more samples were drawn.
        """
        n, (second, count_b) = int(counts.sum()), runner_up(counts, top)
        given_up = n < self.n and stop_reason != CERTIFIED
        p_lower, p_upper, radius, two_sided = self._follow(case, look, (count_b, n))
        certified = radius >= 0
        return Certificate(
            prediction=top if certified else ABSTAIN,
            radius=radius if certified else 0.0,
            top=top,
            n=n,
            n0=self.n0,
            p_lower=p_lower,
            count_a=int(counts[top]),
            count_b=count_b,
            runner_up=second,
            p_upper=p_upper,
            # What made it give up looked at one side alone: then 0 would be no abstention of the other.
            radius_two_sided=two_sided if two_sided > 0 else math.nan if given_up else 0.0,
            look_a="{}/{}".format(*look),
            look_b=f"{count_b}/{n}",
            stop_reason=stop_reason,
        )

    def verify(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Return what a row claims beyond its counts: bounds follow from its two looks, radii from the bounds."""
        if row["stop_reason"] == WRONG_CLASS:
            return self._verify_skipped(row)
        look_a, look_b = look_of(row["look_a"]), look_of(row["look_b"])
        if not self._consistent(row, case.num_classes, look_a, look_b):
            return ["its counts contradict each other or the header"]
        p_lower, p_upper, radius, two_sided = self._follow(case, look_a, look_b)
        found = [
            *too_large("p_lower", row["p_lower"], p_lower),
            *too_small("p_upper", row["p_upper"], p_upper),
            *too_large("radius_full", row["radius_full"], max(radius, 0.0)),
            *too_large("radius", row["radius"], row["radius_full"]),
        ]
        if not math.isnan(row["radius_two_sided"]):  # given up before it was known
            found += too_large("radius_two_sided", row["radius_two_sided"], max(two_sided, 0.0))
        if row["predict"] >= 0 and not radius >= -TOLERANCE:
            found.append("answers, but its counts certify nothing")
        return found

    def _follow(
        self, case: Case, look_a: tuple[int, int], look_b: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """Return what follows from two looks ``(count, total)``: p_lower, p_upper, and the one- and two-sided radius.

        ``look_a`` counts the selected class, ``look_b`` the strongest other one. Radii are below 0 where nothing is
        certified.
        """
        p_lower, p_upper = self._looks.lower(*look_a), self._looks.upper_beside(*look_b)
        return p_lower, p_upper, case.radius(p_lower), case.radius(self._looks.lower_beside(*look_a), p_upper)

    def _verify_skipped(self, row: Mapping[str, Any]) -> list[str]:
        """Check a row whose class is not the label, where this certifier draws no estimation samples."""
        nothing = all(math.isnan(row[name]) for name in ("p_lower", "p_upper", "radius_two_sided"))
        honest = row["predict"] == row["top"] != row["label"] and row["radius"] == row["radius_full"] == 0
        if self.skip_wrong and nothing and honest:
            return []
        return ["was skipped for its class, but claims something or should not have been"]

    def _consistent(
        self, row: Mapping[str, Any], num_classes: int, look_a: tuple[int, int], look_b: tuple[int, int]
    ) -> bool:
        """Whether the looks lie within the samples that were drawn, and these within what was planned.

        What a look counted can neither shrink later nor grow by more than the samples after it.
        """
        n = row["n"]
        within = all(
            0 <= count <= min(total, last) and total <= n and last - count <= n - total
            for (count, total), last in ((look_a, row["count_a"]), (look_b, row["count_b"]))
        )
        planned = n <= self.n and row["n0"] == self.n0 and row["samples"] == n + row["n0"]
        return within and votes_add_up(row, num_classes) and planned
