"""PREDICT of Cohen et al. (2019): the class of the smoothed classifier, without a radius."""

import math
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.build import CERTIFIERS
from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import ABSTAIN, Certificate, Votes
from dmaelab.certifiers.claims import votes_add_up
from dmaelab.certifiers.counts import runner_up, select
from dmaelab.records.row import PREDICT_COLUMNS
from dmaelab.stats.bounds import predict_pvalue, smallest_n_predict


@CERTIFIERS.register("predict")
class Predict(Certifier):
    """PREDICT (Cohen et al., 2019): the most likely class under noise, wrong with probability at most alpha.

    It is the exact two-sided binomial test of the two largest counts among n samples (Hung and Fithian, 2019). There is
    no radius. Non-finite outputs count as one more class, which is never returned.

    Args:
        n: samples per image.
        alpha: probability with which a class other than the smoothed classifier's may be returned.
    """

    columns = PREDICT_COLUMNS

    def __init__(self, n: int = 1000, alpha: float = 0.001) -> None:
        super().__init__(n, alpha)

    def smallest_n(self) -> int:
        """Return the smallest n for which unanimous votes pass the test at alpha."""
        return smallest_n_predict(self.alpha)

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Predict one image (Cohen et al., 2019, Algorithm PREDICT)."""
        counts = yield Votes("prediction", self.n)
        top = select(counts)
        count_a = int(counts[top])
        second, count_b = runner_up(counts, top)
        p_value = _p_value(count_a, count_b)
        return Certificate(
            prediction=top if p_value <= self.alpha else ABSTAIN,
            top=top,
            n=self.n,
            count_a=count_a,
            count_b=count_b,
            runner_up=second,
            p_value=p_value,
        )

    def verify(self, row: Mapping[str, Any], case: Case) -> list[str]:
        """Check that a row has the right p-value and no radius, and answers only if the p-value is <= alpha."""
        count_a, count_b, second = row["count_a"], row["count_b"], row["runner_up"]
        if row["radius"] != 0 or row["n"] != self.n or not votes_add_up(row, case.num_classes):
            return ["claims a radius, or its counts contradict the header"]
        if second < case.num_classes and (count_b, row["top"]) > (count_a, second):
            return ["its top class has fewer votes than the runner-up, or as many and comes later"]
        p_value = _p_value(count_a, count_b)
        if row["predict"] >= 0 and not p_value <= self.alpha:
            return [f"answers with the p-value {p_value:.3g}, above alpha"]
        if not math.isclose(row["p_value"], p_value, rel_tol=1e-6):
            return [f"p_value is {row['p_value']}, from the counts follows {p_value}"]
        return []


def _p_value(count_a: int, count_b: int) -> float:
    """Return the p-value of the top class against the second largest count.

    It is 1 if there are more non-finite outputs (``count_b``) than votes for the top class.
    """
    return predict_pvalue(count_a, count_b) if count_a >= count_b else 1.0
