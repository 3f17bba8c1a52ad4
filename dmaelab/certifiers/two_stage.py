"""The base of two-stage certifiers: select a class, then estimate its probability on fresh samples."""

import math
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from dmaelab.certifiers.base import Certifier, sample_count
from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import ABSTAIN, Certificate, Votes
from dmaelab.certifiers.claims import TOLERANCE, look_of, too_large, too_small, votes_add_up
from dmaelab.certifiers.counts import runner_up, select
from dmaelab.records.row import WRONG_CLASS
from dmaelab.stats.bounds import smallest_n
from dmaelab.stats.looks import Looks
from dmaelab.utils.errors import UserError

CERTIFIED = "certified"
"""``stop_reason`` of a row for which all radii that were asked for were certified before the last look."""


class TwoStage(Certifier):
    """Base class of certifiers that select a class on n0 samples and bound its probability on up to n others.

    The class is fixed before the first estimation sample, so the selection uses no part of alpha. Two radii follow from
    the same counts:

    * ``radius`` is the one-sided radius of Cohen et al. (2019).
    * ``radius_two_sided`` also uses an upper bound of the other classes (DMAE paper, Eq. 2). It is 0 if nothing is
      certified, and nan if sampling stopped early because of the one-sided radius, before the two-sided one was known.

    Each of them is wrong with probability at most alpha. If both are reported for one image, at least one of them is
    wrong with probability at most (2 - weight) alpha.

    Args:
        n0: number of samples that select the class.
        n: number of samples that estimate its probability, at most.
        alpha: probability with which a certificate may be wrong.
        weight: part of alpha for the lower bound of the two-sided radius; the rest is for its upper bound.
        skip_wrong: draw no estimation samples if the selected class is not the label. Certified accuracy does not
            change, but the share of abstentions is then unknown, and the log can only be used for evaluation.
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

    @property
    def _looks(self) -> Looks:
        """The bounds at every look; of the present options, so that bounds and header cannot differ."""
        return Looks(self.n, self.alpha, self.share, self.weight)

    def smallest_n(self) -> int:
        """Return the smallest n with which the last look can certify anything."""
        return smallest_n((1 - self.share) * self.alpha)

    def check(self, case: Case) -> None:
        """Raise a ``UserError`` if ``skip_wrong`` is set and the labels are not known."""
        if self.skip_wrong and case.label is None:
            raise UserError(
                "certifier.skip_wrong needs the label of the image: it is for evaluation on a labelled data set"
            )

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Certify one image: select a class, perhaps skip, estimate (Cohen et al., 2019, Algorithm CERTIFY)."""
        top = select((yield Votes("selection", self.n0)))
        if self.skip_wrong and case.label not in (None, top):
            return Certificate(prediction=top, top=top, n=0, n0=self.n0, stop_reason=WRONG_CLASS)
        return (yield from self.estimate(case, top))

    def estimate(self, case: Case, top: int) -> Generator[Votes, np.ndarray, Certificate]:
        """Ask for votes of the stream ``"estimation"`` and return the certificate that :meth:`conclude` makes."""
        raise NotImplementedError(f"{type(self).__name__} must define estimate(case, top)")

    def conclude(
        self, case: Case, top: int, counts: np.ndarray, look: tuple[int, int], stop_reason: str
    ) -> Certificate:
        """Return the certificate that follows from the last look and from the look with the best lower bound.

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
            # Giving up looks at the one-sided radius only. More samples might have given a two-sided one, so this is
            # nan and not 0, which would mean abstention.
            radius_two_sided=two_sided if two_sided > 0 else math.nan if given_up else 0.0,
            look_a="{}/{}".format(*look),
            look_b=f"{count_b}/{n}",
            stop_reason=stop_reason,
        )

    def verify(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Check a row: its bounds must follow from its two looks, and its radii from the bounds."""
        if row["stop_reason"] == WRONG_CLASS:
            return self._verify_skipped(row)
        look_a, look_b = look_of(row["look_a"]), look_of(row["look_b"])
        if not self._consistent(row, case.num_classes, look_a, look_b):
            return ["its counts contradict each other or the header"]
        if not self.stopped(row, case, look_a):
            return [f"with its counts it would not have stopped after {row['n']} samples as {row['stop_reason']!r}"]
        p_lower, p_upper, radius, two_sided = self._follow(case, look_a, look_b)
        found = [
            *too_large("p_lower", row["p_lower"], p_lower),
            *too_small("p_upper", row["p_upper"], p_upper),
            *too_large("radius_full", row["radius_full"], max(radius, 0.0)),
            *self._two_sided(row, case, look_a, two_sided),
        ]
        if row["predict"] >= 0 and not radius >= -TOLERANCE:
            found.append("answers, but its counts certify nothing")
        return found or self._radius_of_bound(row, case)

    def stopped(self, row: Mapping[str, Any], case: Case, look: tuple[int, int]) -> bool:
        """Whether a row may have stopped after its n samples, for its reason, with the bound p_lower from ``look``.

        A subclass says here when it stops. By default anything is possible.

        Args:
            row: values by column; its counts do not contradict each other.
            case: any image of the log.
            look: ``(count, total)`` in the column ``look_a``.
        """
        return True

    def _radius_of_bound(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Check that the radius, or the abstention, is the one that follows from p_lower in the row."""
        radius = case.radius(row["p_lower"])
        answers = row["predict"] >= 0
        if abs(radius) > TOLERANCE and answers != (radius > 0):
            return [f"{'answers' if answers else 'abstains'}, but its p_lower gives the radius {radius:.9g}"]
        if answers and not abs(row["radius_full"] - radius) <= TOLERANCE:
            return [f"radius_full is not the radius of its p_lower, which is {radius:.9g}"]
        return []

    def _two_sided(self, row: Mapping[str, Any], case: Case, look_a: tuple[int, int], two_sided: float) -> list[str]:
        """Check the two-sided radius; it is missing if and only if sampling ended before it was known."""
        claim, given_up = row["radius_two_sided"], row["n"] < self.n and row["stop_reason"] != CERTIFIED
        if abs(two_sided) > TOLERANCE and math.isnan(claim) != (given_up and two_sided < 0):
            return [f"radius_two_sided is {claim}, from the counts follows {max(two_sided, 0.0):.9g}"]
        of_bounds = case.radius(self._looks.lower_beside(*look_a), row["p_upper"])
        return [] if math.isnan(claim) else too_large("radius_two_sided", claim, max(min(two_sided, of_bounds), 0.0))

    def _follow(
        self, case: Case, look_a: tuple[int, int], look_b: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """Return ``(p_lower, p_upper, radius, radius_two_sided)`` from two looks ``(count, total)``.

        ``look_a`` counts the selected class, ``look_b`` the strongest other one. A radius is negative if nothing is
        certified.
        """
        p_lower, p_upper = self._looks.lower(*look_a), self._looks.upper_beside(*look_b)
        return p_lower, p_upper, case.radius(p_lower), case.radius(self._looks.lower_beside(*look_a), p_upper)

    def _verify_skipped(self, row: Mapping[str, Any]) -> list[str]:
        """Check a row that was skipped because its class is not the label: it must not claim anything."""
        empty = ("p_lower", "p_upper", "radius_two_sided", "count_a", "count_b", "runner_up", "look_a", "look_b")
        nothing = all(isinstance(row[name], float) and math.isnan(row[name]) for name in empty)
        honest = row["predict"] == row["top"] != row["label"] and row["radius"] == row["radius_full"] == 0
        planned = (row["n"], row["n0"], row["samples"]) == (0, self.n0, self.n0)
        if self.skip_wrong and nothing and honest and planned:
            return []
        return ["was skipped for its class, but claims something or should not have been"]

    def _consistent(
        self, row: Mapping[str, Any], num_classes: int, look_a: tuple[int, int], look_b: tuple[int, int]
    ) -> bool:
        """Whether the counts of the two looks, of the row and of the options fit together.

        The look of p_lower may not have more samples than were drawn, and no more may be drawn than the options allow.
        From a look to the end, a count cannot decrease, nor grow by more than the number of samples after the look. The
        look of p_upper is the last one. An image with a wrong class has no counts if such images are skipped.
        """
        n = row["n"]
        count, total = look_a
        within = 0 <= count <= min(total, row["count_a"]) and total <= n and row["count_a"] - count <= n - total
        planned = n <= self.n and row["n0"] == self.n0 and row["samples"] == n + row["n0"]
        wrong = self.skip_wrong and row["top"] != row["label"]  # it would have been skipped
        return within and look_b == (row["count_b"], n) and votes_add_up(row, num_classes) and planned and not wrong
