"""CERTIFY of Cohen et al. (2019): a fixed number of samples for every image."""

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from dmaelab.certifiers.build import CERTIFIERS
from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import Certificate, Votes
from dmaelab.certifiers.two_stage import TwoStage
from dmaelab.records.row import WRONG_CLASS


@CERTIFIERS.register("cohen")
class Cohen(TwoStage):
    """CERTIFY (Cohen et al., 2019): abstains, or gives a radius that is wrong with probability at most alpha.

    The class is the most frequent one among n0 samples. From n fresh samples follows the lower Clopper-Pearson bound of
    its probability at level alpha, and from this bound the radius. The options and the two-sided radius are those of
    :class:`~dmaelab.certifiers.two_stage.TwoStage`.
    """

    stop_reasons = ("n", WRONG_CLASS)

    def estimate(self, case: Case, top: int) -> Generator[Votes, np.ndarray, Certificate]:
        """Ask for all n samples at once and return the certificate."""
        counts = yield Votes("estimation", self.n)
        return self.conclude(case, top, counts, (int(counts[top]), self.n), "n")

    def stopped(self, row: Mapping[str, Any], case: Case, look: tuple[int, int]) -> bool:
        """Whether all n samples were drawn, and the only look is at all of them."""
        return bool(look == (row["count_a"], self.n))
