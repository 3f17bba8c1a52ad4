"""What a certifier is told about an image: :class:`Case`."""

from collections.abc import Callable

import numpy as np

from dmaelab.stats.geometry import Geometry


class Case:
    """One image as a certifier sees it: number of classes, label, and radii from probabilities, but no pixels.

    Args:
        num_classes: number of classes of the classifier.
        geometry: turns probabilities into radii.
        sigma: level of the noise, in [0,1] pixel units.
        tau: total variation distance between the noise as it is sampled and the noise that the certificate assumes.
            This class allows for it in every bound, so certifiers need not.
        label: the true class, None if it is not known.
        random: function from a name to a numpy generator; the same image and name always give the same numbers.
    """

    def __init__(
        self,
        num_classes: int,
        geometry: Geometry,
        sigma: float,
        *,
        tau: float = 0.0,
        label: int | None = None,
        random: Callable[[str], np.random.Generator] | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.label = label
        self._geometry, self._sigma, self._tau = geometry, sigma, tau
        self._random = random

    def radius(self, p_lower: float, p_upper: float | None = None) -> float:
        """Return the certified radius, in [0,1] pixel units; negative if nothing is certified.

        Args:
            p_lower: lower bound of the probability of the top class.
            p_upper: upper bound of the probability of every other class; None means ``1 - p_lower``.
        """
        return self._geometry.radius_as_sampled(self._sigma, self._tau, p_lower, p_upper)

    def needed(self, radius: float) -> float:
        """Return the smallest lower bound of the top class's probability that certifies ``radius``, one-sided."""
        return self._geometry.needed(self._sigma, radius) + self._tau

    def random(self, name: str) -> np.random.Generator:
        """Return the certifier's own random numbers for this image; independent of the noise."""
        if self._random is None:
            raise RuntimeError("this case was made without random numbers")
        return self._random(name)


def sampled_sigma(sigma: float) -> float:
    """Return the smaller of ``sigma`` and its float32 value: the noise is scaled in float32."""
    return min(sigma, float(np.float32(sigma)))
