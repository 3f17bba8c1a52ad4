"""CERTIFY of Cohen et al. (2019): a fixed number of samples for every image."""

from collections.abc import Generator

import numpy as np

from dmaelab.certifiers.build import CERTIFIERS, Case, Certificate, Votes
from dmaelab.certifiers.two_stage import TwoStage


@CERTIFIERS.register("cohen")
class Cohen(TwoStage):
    """CERTIFY (Cohen et al., 2019): with probability 1 - alpha the radius is right, or it abstains.

    The class is the most frequent of n0 samples; n fresh samples give the lower Clopper-Pearson bound
    of its probability at level alpha, and the geometry of the noise the radius. The two-sided radius
    beside it, and the options, are those of :class:`~dmaelab.certifiers.two_stage.TwoStage`.
    """

    def estimate(self, case: Case, top: int) -> Generator[Votes, np.ndarray, Certificate]:
        """Look once, at all n samples."""
        counts = yield Votes("estimation", self.n)
        return self.conclude(case, top, counts, (int(counts[top]), self.n), "n")
