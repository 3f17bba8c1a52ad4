"""From probabilities to radii: what a smoothing noise certifies.

A certifier bounds class probabilities; the geometry of the noise turns the bounds into a radius.
"""

import math
from statistics import NormalDist

_NORMAL = NormalDist()


class Geometry:
    """The certificate that a noise gives.

    Attributes:
        norm: the norm of the certified ball, ``"l2"`` or ``"l1"``.
        fp_sound: whether the guarantee survives floating-point arithmetic of the noisy sum.
    """

    norm: str
    fp_sound: bool = False

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return the certified radius in [0,1] pixel units; negative where nothing is certified.

        Args:
            sigma: standard deviation of the noise, in [0,1] pixel units.
            p_lower: lower bound of the top class's probability.
            p_upper: upper bound of every other class's; ``None`` means ``1 - p_lower``.
        """
        raise NotImplementedError

    def needed(self, sigma: float, radius: float) -> float:
        """Return the smallest ``p_lower`` whose one-sided radius is at least ``radius``."""
        raise NotImplementedError

    def tau(self, sigma: float, numel: int) -> float:
        """Return the total variation between the sampled and the ideal noise, to take off p_lower."""
        return 0.0


class GaussianL2(Geometry):
    """Cohen et al. (2019), Theorem 1; Eq. 2 and appendix B of the DMAE paper."""

    norm = "l2"

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return ``sigma/2 (Phi^-1(p_lower) - Phi^-1(p_upper))``; with ``p_upper=None`` sigma Phi^-1(p_lower)."""
        if p_upper is None:
            return sigma * _quantile(p_lower)
        return sigma / 2 * (_quantile(p_lower) - _quantile(p_upper))

    def needed(self, sigma: float, radius: float) -> float:
        """Return ``Phi(radius / sigma)``."""
        return _NORMAL.cdf(radius / sigma)


class UniformL1(Geometry):
    """Yang et al. (2020): noise uniform on [-lam, lam], lam = sqrt(3) sigma, certifies lam (pA - pB) in l1."""

    norm = "l1"

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return ``sqrt(3) sigma (p_lower - p_upper)``."""
        p_upper = 1 - p_lower if p_upper is None else p_upper
        return math.sqrt(3) * sigma * (p_lower - p_upper)

    def needed(self, sigma: float, radius: float) -> float:
        """Return ``1/2 + radius / (2 sqrt(3) sigma)``, above 1 where no probability is enough."""
        return 0.5 + radius / (2 * math.sqrt(3) * sigma)


def _quantile(p: float) -> float:
    """Phi^-1 with its limits; at a bound of exactly 1 nothing finite could be claimed."""
    if p <= 0:
        return -math.inf
    return math.inf if p >= 1 else _NORMAL.inv_cdf(p)
