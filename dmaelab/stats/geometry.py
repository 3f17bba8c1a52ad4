"""From probabilities to radii: what a smoothing noise certifies, and in which norms.

A certifier bounds class probabilities; the geometry of the noise turns the bounds into a radius.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

from dmaelab.utils.errors import UserError, did_you_mean

NORMS = ("l2", "l1", "linf", "l0")
"""The norms that a radius can be stated in; l0 counts changed values."""

_NORMAL = NormalDist()
_EXPONENTS = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


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

    def radius_as_sampled(self, sigma: float, tau: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return the radius from bounds on noise that is within total variation ``tau`` of the ideal one.

        ``tau`` is taken off the lower bound and added to the upper one, which says nothing new above 1 less the lower.
        """
        p_lower = p_lower - tau
        return self.radius(sigma, p_lower, None if p_upper is None else min(p_upper + tau, 1 - p_lower))

    def needed(self, sigma: float, radius: float) -> float:
        """Return the smallest ``p_lower`` whose one-sided radius is at least ``radius``."""
        raise NotImplementedError

    def tau(self, sigma: float, numel: int) -> float:
        """Return the total variation between the sampled and the ideal noise, to take off p_lower."""
        return 0.0

    def converted(self, radius: float, norm: str, sigma: float, shape: Sequence[int]) -> float:
        """Return the radius in another norm of the largest ball that lies in the certified one.

        A p-ball of radius R holds the q-ball of radius ``R / D^(1/p - 1/q)``, and of radius R where
        q <= p. For l0: k values that each change by at most 1 move an image by at most ``k^(1/p)``, so
        every k below ``R^p`` is certified; that is for images in [0,1] that stay in [0,1].

        Args:
            radius: a certified radius in ``self.norm``, [0,1] pixel units; below 0 counts as 0, nan stays nan.
            norm: one of :data:`NORMS`.
            sigma: level of the noise that gave the radius.
            shape: ``(C, H, W)`` of the image, ``D`` numbers.

        Raises:
            UserError: an unknown norm, or one that does not follow from ``self.norm``.
        """
        if norm not in (*NORMS, self.norm):
            raise UserError(f"unknown norm '{norm}'{did_you_mean(norm, NORMS)}: one of {', '.join(NORMS)}")
        radius, numel = max(radius, 0.0), math.prod(shape)
        if norm == self.norm or math.isnan(radius):
            return radius
        if self.norm not in _EXPONENTS:
            raise UserError(
                f"no radius in {norm} follows from one in {self.norm}: ask for {self.norm}, or define converted()"
            )
        own = _EXPONENTS[self.norm]
        if norm == "l0":
            limit = min(min(radius, numel + 1.0) ** own, numel + 1.0)
            return float(max(math.ceil(limit) - 1, 0))
        shrinkage: float = numel ** max(0.0, 1 / own - 1 / _EXPONENTS[norm])
        return radius / shrinkage


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


class QuantisedGaussianL2(GaussianL2):
    """The Gaussian's certificate for 8-bit images whose noise is a whole number of 1/255 (Voracek and Hein, 2023).

    The sum of two integers is exact, so nothing of the image is left in low-order bits, and what is
    sampled differs from the ideal noise by ``tau`` alone.
    """

    fp_sound = True

    def tau(self, sigma: float, numel: int) -> float:
        """Return ``max(1e-6, 10 numel 255 sigma 1e-15)``.

        A number is rounded to another integer than the ideal one only where it falls within the error
        of float64 Box-Muller from 53-bit words, some 1e-15, of a threshold; these lie 1/(255 sigma)
        apart. The factor 10 and the 1e-6 are margins.
        """
        return max(1e-6, 10 * numel * 255 * sigma * 1e-15)


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

    def converted(self, radius: float, norm: str, sigma: float, shape: Sequence[int]) -> float:
        """Return the radius in another norm; in linf ``2 lam (1 - (1 - (pA - pB)/2)^(1/D))`` (Yang et al., 2020).

        The radius alone is enough for it, being ``lam (pA - pB)``: half of ``pA - pB`` is the total
        variation that the two classes can bear, and a shift by r in all D numbers costs
        ``1 - (1 - r/(2 lam))^D`` of it.
        """
        if norm != "linf":
            return super().converted(radius, norm, sigma, shape)
        half_width = math.sqrt(3) * sigma
        bearable = min(max(radius, 0.0), half_width) / (2 * half_width)
        return -2 * half_width * math.expm1(math.log1p(-bearable) / math.prod(shape))


class LaplaceL1(Geometry):
    """Teng et al. (2020): noise of density ``exp(-|x|/lam) / (2 lam)``, lam = sigma / sqrt(2), certifies an l1 ball."""

    norm = "l1"

    def radius(self, sigma: float, p_lower: float, p_upper: float | None = None) -> float:
        """Return ``max(lam/2 ln(p_lower/p_upper), -lam ln(1 - p_lower + p_upper))``; one-sided ``-lam ln(2 (1 -
        p_lower))``.

        At ``p_upper = 1 - p_lower`` the second term is the larger one, so the two agree.
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
    """Return ``"module.Class"``, by which a log records a geometry."""
    return f"{type(geometry).__module__}.{type(geometry).__qualname__}"


def geometry_named(name: str) -> Geometry:
    """Return the geometry that :func:`geometry_name` named, of those whose module has been imported.

    It imports nothing: the name may come from a log of others, and importing a module runs it.

    Raises:
        UserError: there is none of that name, or it cannot be built without arguments.
    """
    found = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _subclasses(Geometry)}
    if (kind := found.get(str(name))) is None:
        raise UserError(f"geometry {name!r} is not known here: no module that has been imported defines it")
    try:
        return kind()
    except TypeError as error:
        raise UserError(f"geometry {name!r} needs arguments that its name does not hold: give them defaults") from error


def _subclasses(kind: type[Geometry]) -> Iterator[type[Geometry]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _quantile(p: float) -> float:
    """Phi^-1 with its limits; at a bound of exactly 1 nothing finite could be claimed."""
    if p <= 0:
        return -math.inf
    return math.inf if p >= 1 else _NORMAL.inv_cdf(p)


def _log(x: float) -> float:
    """The logarithm with its limit at 0; bounds less tau may lie below."""
    return math.log(x) if x > 0 else -math.inf
