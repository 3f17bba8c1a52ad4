"""Anytime-valid lower bounds of a probability from e-values: they hold however often the samples are looked at.

Samples are independent and succeed with probability p. Among the first t samples there are S successes. The e-value
against the hypothesis p <= q is the likelihood ratio of a Beta prior, truncated to (q, 1], to q. Under the hypothesis
it is a supermartingale, so the probability that it ever exceeds 1/alpha is at most alpha (Ville's inequality).
"""

import math
from functools import lru_cache

from scipy import optimize, special

from dmaelab.utils.errors import UserError

PRIOR = (0.5, 0.5)

# The root is computed to about 1e-15. This is subtracted from it, so that rounding cannot make a bound too high.
_ROUNDING = 1e-12


def log_evalue(count: int, total: int, q: float, prior: tuple[float, float] = PRIOR) -> float:
    """Return the logarithm of the e-value against ``p <= q``; -inf if q >= S/t or if it cannot be computed.

    It is ``ln B(a+S, b+F) - ln B(a, b) + ln I(a+S, b+F) - ln I(a, b) - S ln q - F ln(1-q)``, where F = t - S is the
    number of failures and I is the upper tail of the Beta distribution above q. For every prior it decreases in q on
    (0, S/t) and is at most 0 for larger q.

    Args:
        count: number of successes S.
        total: number of samples t.
        q: probability of the hypothesis, in (0, 1). The result is -inf for q >= 1, and inf for q <= 0 if there are
            successes.
        prior: parameters (a, b) of the Beta distribution, the same for all q and t of one bound.

    Raises:
        UserError: a count outside 0..total.
    """
    if not 0 <= count <= total:
        raise UserError(f"invalid count, {count} of {total} samples: needs 0 <= count <= total")
    # Here the e-value is at most 1, but the tail underflows, and clamping the tail would give false certificates.
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
    """Return a lower bound of p that holds at all looks at once with probability at least ``1 - alpha``.

    It is the smallest q whose e-value is below 1/alpha, minus 1e-12; 0 without a success. The maximum of the bounds at
    several looks is therefore also a bound.

    Args:
        count: number of successes among the first ``total`` samples.
        total: number of samples so far, at least 1.
        alpha: allowed probability that the bound of any look is too high, in (0, 1).
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
        # The root search needs finite values at both ends of the bracket; far from the root only the sign matters.
        return min(max(log_evalue(count, total, q, prior) - level, -1e3), 1e3)

    highest = count / total
    lowest = highest * 1e-9
    if count == 0 or excess(lowest) < 0:
        return 0.0
    root = float(optimize.brentq(excess, lowest, highest, xtol=1e-15, rtol=1e-15))
    step = _ROUNDING
    while (bound := root - step) > 0 and excess(bound) < 0:  # the search may end slightly above the root
        step *= 2
    return max(0.0, bound)


@lru_cache(maxsize=2**12)
def _prior_mass(q: float, a: float, b: float) -> float:
    return float(special.betaincc(a, b, q))
