"""What two-stage certifiers share: select a class, then estimate its probability on fresh samples."""

import math
from collections.abc import Generator

import numpy as np

from dmaelab.certifiers.build import ABSTAIN, Case, Certificate, Certifier, Votes, runner_up, select
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
        super().__init__(n0, n, alpha)
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
        p_lower, p_upper = self._looks.lower(*look), self._looks.upper_beside(count_b, n)
        radius, two_sided = case.radius(p_lower), case.radius(self._looks.lower_beside(*look), p_upper)
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
