"""CERTIFY of Cohen et al. (2019): fixed n, one-sided Clopper-Pearson bound."""

from collections.abc import Generator

import numpy as np

from dmaelab.smoothing.build import ABSTAIN, CERTIFIERS, Case, Certificate, Certifier, Votes, runner_up, select
from dmaelab.stats.bounds import clopper_pearson_lower


@CERTIFIERS.register("cohen")
class Cohen(Certifier):
    """CERTIFY (Cohen et al., 2019): with probability 1 - alpha the radius is right, or it abstains.

    The class is the most frequent of n0 samples; n fresh samples give the lower Clopper-Pearson bound
    of its probability at level alpha, and the geometry of the noise the radius. The class is fixed
    before the estimation samples are drawn, so the choice costs no part of alpha.
    """

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Certify one image (Cohen et al., 2019, Algorithm CERTIFY; eq. 3 for the Gaussian radius)."""
        top = select((yield Votes("selection", self.n0)))
        counts = yield Votes("estimation", self.n)
        count_a = int(counts[top])
        second, count_b = runner_up(counts, top)
        p_lower = clopper_pearson_lower(count_a, self.n, self.alpha)
        radius = case.radius(p_lower)
        certified = radius >= 0
        return Certificate(
            prediction=top if certified else ABSTAIN,
            radius=radius if certified else 0.0,
            top=top,
            n=self.n,
            n0=self.n0,
            p_lower=p_lower,
            count_a=count_a,
            count_b=count_b,
            runner_up=second,
            look_a=f"{count_a}/{self.n}",
            stop_reason="n",
        )
