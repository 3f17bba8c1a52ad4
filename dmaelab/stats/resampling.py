"""Tests of certificates on fresh samples: is a log wrong, or did a few of its certificates fail as alpha allows?

A row claims that the probability p of its class is at least ``p_lower``. Among n fresh samples, independent of those of
the certification, the class gets X votes, and X is binomial with p. A row fails if ``P(Bin(n, p_lower) <= X)`` is at
most the level q of a row. If the claim is true, this has probability at most q, because the distribution of X moves up
with p. A claim is false with probability at most alpha. So whatever its image is, a row fails with probability at most
``alpha + q``, and rows of different images fail independently. If K rows are drawn without regard to their content,
the number of failures exceeds c with probability at most ``P(Bin(K, alpha + q) > c)``. Rows that claim nothing cannot
fail; they count among the K rows, because alpha is the probability of a false claim before it is known whether a row
claims anything.

We take q = LEVEL / K, and the smallest c for which the last probability is at most LEVEL. Nothing is assumed about when
the certification stopped: a bound that is valid at any time is a bound, and the fresh samples have a fixed n.

This is proved under two assumptions. Both computations are of the same classifier f: another processor or another place
in a batch may change the last bits of logits, and so the class of a near tie, but not p by an amount that matters. And
the samples are independent draws: the noise of the generator, and the random numbers of f if it draws some.

If K is small, even K failures cannot call a log wrong: they are too likely. :func:`least_rows` is the first K that can.
"""

import bisect

from scipy import special

LEVEL = 1e-3
"""Probability with which a log of sound certificates may be called wrong."""


def claim_fails(hits: int, n: int, p_lower: float, rows: int) -> bool:
    """Return whether ``hits`` of ``n`` fresh samples are too few for the claim ``p >= p_lower``.

    It is the exact one-sided binomial test at level ``LEVEL / rows``.

    Args:
        hits: fresh votes for the class.
        n: number of fresh samples.
        p_lower: the claim, a probability.
        rows: number of rows that were drawn, K.
    """
    return bool(special.bdtr(hits, n, p_lower) <= LEVEL / rows)


def allowed_failures(rows: int, alpha: float) -> int:
    """Return the number of failing rows c that sound certificates exceed with probability at most :data:`LEVEL`.

    Args:
        rows: number of rows that were drawn, K.
        alpha: probability with which a certificate may be wrong.
    """
    chance = min(1.0, alpha + LEVEL / rows)
    return next(count for count in range(rows + 1) if special.bdtrc(count, rows, chance) <= LEVEL)


def least_rows(alpha: float) -> int:
    """Return the smallest number of rows K that can call a log wrong: all K fail with probability <= :data:`LEVEL`.

    Args:
        alpha: probability with which a certificate may be wrong, in (0, 1).
    """
    return 1 + bisect.bisect_left(
        range(1, 2**62), True, key=lambda rows: min(1.0, alpha + LEVEL / rows) ** rows <= LEVEL
    )
