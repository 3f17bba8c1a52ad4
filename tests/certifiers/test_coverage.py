"""How often certificates are wrong for known class probabilities: the real coroutines on simulated votes."""

import numpy as np
import pytest
from scipy.stats import binom

from dmaelab.certifiers import ABSTAIN, Case, Cohen, Sequential
from dmaelab.stats.geometry import GaussianL2
from dmaelab.testing.certifiers import drive

ALPHA, RUNS = 0.05, 20_000
MOST = 0.0546  # alpha plus three standard deviations

CERTIFIERS = {
    "cohen": Cohen(20, 300, ALPHA),
    "target": Sequential(20, 400, ALPHA, mode="target", radii=[0.2]),
    "grid": Sequential(20, 400, ALPHA, radii=[0.0, 0.25, 0.5, 1.0]),
    "radius": Sequential(20, 400, ALPHA, mode="radius"),
}
PROBABILITIES = {
    "three near a tie": (0.4, 0.35, 0.25),
    "a clear first": (0.65, 0.25, 0.1),
    "ten": (0.3, *[0.7 / 9] * 9),
}


class Votes:
    """The votes of one image with known probabilities; the selection stream is one draw, the other grows."""

    def __init__(self, rng, probabilities):
        self.rng, self.probabilities, self.counts, self.drawn = (
            rng,
            probabilities,
            np.zeros(len(probabilities) + 1, np.int64),
            0,
        )

    def __call__(self, stream, total):
        if stream == "selection":
            return np.append(self.rng.multinomial(total, self.probabilities), 0)
        self.counts[:-1] += self.rng.multinomial(total - self.drawn, self.probabilities)
        self.drawn = total
        return self.counts.copy()


@pytest.mark.slow
@pytest.mark.parametrize("probabilities", PROBABILITIES.values(), ids=PROBABILITIES)
@pytest.mark.parametrize("name", CERTIFIERS)
def test_with_more_than_two_classes(name, probabilities):
    case, certifier, rng = Case(len(probabilities), GaussianL2(), 1.0), CERTIFIERS[name], np.random.default_rng(0)
    wrong = wrong_two_sided = 0
    for _ in range(RUNS):
        certificate = drive(certifier, case, Votes(rng, probabilities))
        p_top, p_other = probabilities[certificate.top], max(np.delete(probabilities, certificate.top))
        wrong += certificate.prediction != ABSTAIN and certificate.radius > max(case.radius(p_top), 0)
        wrong_two_sided += certificate.radius_two_sided > max(case.radius(p_top, p_other), 0)
    assert wrong <= MOST * RUNS
    assert wrong_two_sided <= MOST * RUNS


@pytest.mark.parametrize("n", [10, 50])
def test_both_radii_of_a_fixed_n_with_two_classes_exactly(n):
    case, certifier = Case(2, GaussianL2(), 1.0), Cohen(1, n, ALPHA)
    by_count = [
        drive(certifier, case, lambda stream, total, c=count: np.array([1, 0, 0] if total == 1 else [c, n - c, 0]))
        for count in range(n + 1)
    ]
    for p in np.linspace(0.02, 0.98, 49):
        mass = binom.pmf(np.arange(n + 1), n, p)
        true = max(case.radius(p), 0)
        assert mass[[c.prediction != ABSTAIN and c.radius > true for c in by_count]].sum() <= ALPHA
        assert mass[[c.radius_two_sided > true for c in by_count]].sum() <= ALPHA
