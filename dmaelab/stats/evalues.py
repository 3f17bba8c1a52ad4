"""Anytime-valid bounds: an e-value that may be looked at as often as one likes, and the bound that it gives.

Of samples that are successes with probability p, independently, S are seen among the first t. The e-value of the
hypothesis p <= q is the likelihood ratio against q, averaged over a Beta prior truncated to (q, 1]. Under the
hypothesis it is a supermartingale, so it exceeds 1/alpha at any time with probability at most alpha (Ville).
"""

import math
from functools import lru_cache

from scipy import optimize, special

from dmaelab.utils.errors import UserError

PRIOR = (0.5, 0.5)

# Taken off the root, which is computed to about 1e-15: a bound may be too low by rounding, never too high.
_ROUNDING = 1e-12


def log_evalue(count: int, total: int, q: float, prior: tuple[float, float] = PRIOR) -> float:
    """Return the logarithm of the e-value against ``p <= q``; -inf where it is at most 1 or cannot be computed.

    ``ln B(a+S, b+F) - ln B(a, b) + ln I(a+S, b+F) - ln I(a, b) - S ln q - F ln(1-q)``, with F = t - S failures and I
    the upper tail of the Beta distribution above q. For every prior it falls in q on (0, S/t), and is at most 0 beyond.

    Args:
        count: successes S.
        total: samples t.
        q: probability of the hypothesis, in (0, 1); beyond 1 no evidence is enough.
        prior: parameters (a, b) of the Beta distribution, the same for all q and t of one bound.

    Raises:
        UserError: a count outside 0..total.
    """
    if not 0 <= count <= total:
        raise UserError(f"{count} of {total} samples is no count: needs 0 <= count <= total")
    # There the e-value is at most 1, but the tail underflows: a floor under it would certify falsely.
    if q >= 1 or count <= q * total:
        return -math.inf
    if q <= 0:
        return math.inf
    tail, mass = special.betaincc(prior[0] + count, prior[1] + total - count, q), _prior_mass(q, *prior)
    if tail <= 0 or mass < 1e-280:
        return -math.inf
    failures = total - count
    evidence = special.betaln(prior[0] + count, prior[1] + failures) - special.betaln(*prior)
    value = evidence + math.log(tail / mass) - count * math.log(q) - failures * math.log1p(-q)
    return float(value) if math.isfinite(value) else -math.inf


@lru_cache(maxsize=2**16)
def sequence_lower(count: int, total: int, alpha: float, prior: tuple[float, float] = PRIOR) -> float:
    """Return a lower bound of p of which, at all looks together, one is too high with probability at most alpha.

    The least q whose e-value is below 1/alpha, less 1e-12; 0 without a success. The maximum over looks is a bound too.

    Args:
        count: successes among the first ``total`` samples.
        total: samples so far, at least 1.
        alpha: probability that any look's bound is too high, in (0, 1).
        prior: as for :func:`log_evalue`.

    Raises:
        UserError: a count outside 0..total, total < 1, or alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise UserError(f"alpha is {alpha}: give a probability between 0 and 1, such as 0.001")
    if total < 1:
        raise UserError(f"total is {total}: a bound needs at least one sample")
    level = -math.log(alpha)

    def excess(q: float) -> float:
        # Finite at both ends of the bracket, as the search needs; beyond the level nothing but the sign matters.
        return min(max(log_evalue(count, total, q, prior) - level, -1e3), 1e3)

    highest = count / total
    lowest = highest * 1e-9
    if count == 0 or excess(lowest) < 0:
        return 0.0
    root = float(optimize.brentq(excess, lowest, highest, xtol=1e-15, rtol=1e-15))
    step = _ROUNDING
    while (bound := root - step) > 0 and excess(bound) < 0:  # the search may end a rounding above the root
        step *= 2
    return max(0.0, bound)


@lru_cache(maxsize=2**12)
def _prior_mass(q: float, a: float, b: float) -> float:
    return float(special.betaincc(a, b, q))
