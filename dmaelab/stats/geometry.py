"""Geometries: the certified radius that a smoothing noise gives, as a function of class probabilities, and its norm.

A certifier bounds class probabilities, and the geometry of the noise turns the bounds into a radius.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

from dmaelab.utils.errors import UserError, did_you_mean

NORMS = ("l2", "l1", "linf", "l0")
"""The norms in which a radius can be stated; l0 counts the changed values."""

_NORMAL = NormalDist()
_EXPONENTS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


class Geometry:
    """The certificate that a noise gives. Subclasses define ``norm``, :meth:`radius` and :meth:`needed`.

    Attributes:
        norm: the norm of the certified ball, ``"l2"`` or ``"l1"``.
        fp_sound: whether the certificate still holds if image + noise is computed in floating point.
    """

    norm: str
    fp_sound: bool = False

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return the certified radius in [0,1] pixel units; negative if nothing is certified.

        Args:
            sigma: standard deviation of the noise, in [0,1] pixel units.
            p_lower: lower bound of the top class's probability.
            p_upper: upper bound of the probability of every other class; None means ``1 - p_lower``.
        """
        raise NotImplementedError

    def radius_as_sampled(self, sigma: float, tau: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return the radius if the sampled noise differs from the noise of the theorem by ``tau`` in total variation.

        ``tau`` is subtracted from ``p_lower`` and added to ``p_upper``. The result for ``p_upper`` is at most 1 minus
        that for ``p_lower``, because this is also an upper bound.
        """
        p_lower = p_lower - tau
        return self.radius(sigma, p_lower, None if p_upper is None else min(p_upper + tau, 1 - p_lower))

    def needed(self, sigma: float, radius: float) -> float:
        """Return the smallest ``p_lower`` whose radius (with ``p_upper=None``) is at least ``radius``."""
        raise NotImplementedError

    def tau(self, sigma: float, numel: int) -> float:
        """Return a bound of the total variation between the sampled noise and the noise of the theorem.

        ``numel`` is the number of values of an image. The result is the ``tau`` of :meth:`radius_as_sampled`.
        """
        return 0.0

    def converted(self, radius: float, norm: str, sigma: float, shape: Sequence[int]) -> float:
        """Return the radius of the largest ball in another norm that is contained in the certified ball.

        A p-ball of radius R contains the q-ball of radius ``R / D^(1/p - 1/q)`` if q > p, and of radius R if q <= p.
        For l0: if k values change by at most 1 each, the image moves by at most ``k^(1/p)``, so every k < ``R^p`` is
        certified. This requires that the image and the changed image have values in [0,1].

        Args:
            radius: a certified radius in ``self.norm``, [0,1] pixel units; negative ones count as 0, nan stays nan.
            norm: one of :data:`NORMS`.
            sigma: standard deviation of the noise that gave the radius.
            shape: ``(C, H, W)`` of the image, D = C * H * W values.

        Raises:
            UserError: an unknown norm, or one that cannot be derived from ``self.norm``.
        """
        if norm not in (*NORMS, self.norm):
            raise UserError(f"unknown norm '{norm}'{did_you_mean(norm, NORMS)}: one of {', '.join(NORMS)}")
        radius, numel = max(radius, 0.0), math.prod(shape)
        if norm == self.norm or math.isnan(radius):
            return radius
        if self.norm not in _EXPONENTS:
            raise UserError(
                f"a radius in {self.norm} cannot be converted to {norm}: ask for {self.norm}, or define converted()"
            )
        own = _EXPONENTS[self.norm]
        if norm == "l0":
            limit = min(min(radius, numel + 1.0) ** own, numel + 1.0)
            return float(max(math.ceil(limit) - 1, 0))
        shrinkage: float = numel ** max(0.0, 1 / own - 1 / _EXPONENTS[norm])
        return radius / shrinkage


class GaussianL2(Geometry):
    """The l2 certificate of Gaussian noise: Cohen et al. (2019), Theorem 1; DMAE paper, Eq. 2 and appendix B."""

    norm = "l2"

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return ``sigma/2 (Phi^-1(p_lower) - Phi^-1(p_upper))``; ``sigma Phi^-1(p_lower)`` if p_upper is None."""
        if p_upper is None:
            return sigma * _quantile(p_lower)
        return sigma / 2 * (_quantile(p_lower) - _quantile(p_upper))

    def needed(self, sigma: float, radius: float) -> float:
        """Return ``Phi(radius / sigma)``."""
        return _NORMAL.cdf(radius / sigma)


class QuantisedGaussianL2(GaussianL2):
    """The Gaussian certificate for 8-bit images with noise in multiples of 1/255 (Voracek and Hein, 2023).

    Image and noise are added as integers. This sum is exact, so its low-order bits do not reveal the image. The sampled
    noise differs from the noise of the theorem only by ``tau``.
    """

    fp_sound = True

    def tau(self, sigma: float, numel: int) -> float:
        """Return ``max(1e-6, 10 numel 255 sigma 1e-15)``.

        The sampled noise is float64 Box-Muller from 53-bit words, with an error of about 1e-15. It is rounded to
        another integer than the exact noise only if it lies within this error of a rounding threshold. The thresholds
        are 1/(255 sigma) apart in units of the standard deviation. The factor 10 and the 1e-6 are safety margins.
        """
        return max(1e-6, 10 * numel * 255 * sigma * 1e-15)


class UniformL1(Geometry):
    """The l1 certificate of noise uniform on [-lam, lam], lam = sqrt(3) sigma (Yang et al., 2020)."""

    norm = "l1"

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return ``lam (p_lower - p_upper)`` with ``lam = sqrt(3) sigma``."""
        p_upper = 1 - p_lower if p_upper is None else p_upper
        return math.sqrt(3) * sigma * (p_lower - p_upper)

    def needed(self, sigma: float, radius: float) -> float:
        """Return ``1/2 + radius / (2 sqrt(3) sigma)``; above 1 if no probability is enough."""
        return 0.5 + radius / (2 * math.sqrt(3) * sigma)

    def converted(self, radius: float, norm: str, sigma: float, shape: Sequence[int]) -> float:
        """Return the radius in another norm; in linf ``2 lam (1 - (1 - (pA - pB)/2)^(1/D))`` (Yang et al., 2020).

        The order of the two classes cannot change while the total variation between the noise at the two images is
        below ``(pA - pB)/2``. If all D values are shifted by r, it is ``1 - (1 - r/(2 lam))^D``. Since the l1 radius
        is ``lam (pA - pB)``, the linf radius can be computed from it.
        """
        if norm != "linf":
            return super().converted(radius, norm, sigma, shape)
        half_width = math.sqrt(3) * sigma
        bearable = min(max(radius, 0.0), half_width) / (2 * half_width)
        return -2 * half_width * math.expm1(math.log1p(-bearable) / math.prod(shape))


class LaplaceL1(Geometry):
    """The l1 certificate of Laplace noise (Teng et al., 2020).

    The noise has the density ``exp(-|x|/lam) / (2 lam)`` with ``lam = sigma / sqrt(2)``.
    """

    norm = "l1"

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return ``max(lam/2 ln(p_lower/p_upper), -lam ln(1 - p_lower + p_upper))``.

        If ``p_upper`` is None, it is ``-lam ln(2 (1 - p_lower))``. The two agree at ``p_upper = 1 - p_lower``, because
        the second term of the maximum is then the larger one.
        """
        scale = sigma / math.sqrt(2)
        if p_upper is None:
            return -scale * _log(2 * (1 - p_lower))
        by_difference = -scale * _log(1 - p_lower + p_upper)
        if p_lower <= 0:
            return by_difference
        return max(scale / 2 * (_log(p_lower) - _log(p_upper)), by_difference)

    def needed(self, sigma: float, radius: float) -> float:
        """Return ``1 - exp(-radius / lam) / 2``."""
        return 1 - math.exp(-radius * math.sqrt(2) / sigma) / 2


def geometry_name(geometry: Geometry) -> str:
    """Return ``"module.Class"``, the name of a geometry in logs."""
    return f"{type(geometry).__module__}.{type(geometry).__qualname__}"


def geometry_named(name: str) -> Geometry:
    """Return an object of the geometry class with that name, see :func:`geometry_name`; its module must be imported.

    The module is not imported here, because the name may come from someone else's log and an import runs code.

    Raises:
        UserError: no imported class has that name, or it cannot be built without arguments.
    """
    found = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _subclasses(Geometry)}
    if (kind := found.get(str(name))) is None:
        raise UserError(f"geometry {name!r} is not known here: import the module that defines it")
    try:
        return kind()
    except TypeError as error:
        raise UserError(f"geometry {name!r} needs arguments to be built: give them defaults") from error


def _subclasses(kind: type[Geometry]) -> Iterator[type[Geometry]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _quantile(p: float) -> float:
    """Return Phi^-1(p), with the limits -inf for p <= 0 and inf for p >= 1."""
    if p <= 0:
        return -math.inf
    return math.inf if p >= 1 else _NORMAL.inv_cdf(p)


def _log(x: float) -> float:
    """Return the logarithm, -inf for x <= 0; bounds minus tau can be negative."""
    return math.log(x) if x > 0 else -math.inf
