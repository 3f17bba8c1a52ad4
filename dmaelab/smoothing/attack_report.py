"""The result of an attack on certificates: attempts, images, and how many changes sound certificates allow."""

from dataclasses import dataclass
from typing import NamedTuple

from scipy import special
from torch import Tensor

from dmaelab.certifiers.certificate import ABSTAIN

OUTCOMES = ("held", "abstained", "changed")
"""The possible outcomes for an image, from good to bad: see :attr:`AttackedImage.outcome`."""

_CHANCE = 1e-3  # probability that sound certificates are called unsound


class Attempt(NamedTuple):
    """The result of one attempt at an image."""

    candidate: Tensor  # float32 [C,H,W] in [0,1], inside the ball, on the CPU
    distance: float  # of the candidate from the image, in the norm of the noise
    answer: int  # of PREDICT at the candidate; -1 abstains
    # Votes of the largest class minus votes of the second; negative if the largest is not the certified class.
    lead: int


@dataclass(frozen=True)
class AttackedImage:
    """The outcome for one certificate.

    Attributes:
        index: index of the image.
        prediction: the certified class.
        radius: radius of the ball that was searched, in [0,1] pixel units.
        attempts: the results, one for each restart.
    """

    index: int
    prediction: int
    radius: float
    attempts: tuple[Attempt, ...]

    @property
    def worst(self) -> Attempt:
        """The attempt with the worst answer; among several, the one with the smallest lead."""
        return max(self.attempts, key=lambda attempt: (self._severity(attempt), -attempt.lead))

    @property
    def outcome(self) -> str:
        """``"changed"`` if any answer is another class, else ``"abstained"`` if any abstains, else ``"held"``."""
        return OUTCOMES[self._severity(self.worst)]

    def _severity(self, attempt: Attempt) -> int:
        return 0 if attempt.answer == self.prediction else 1 if attempt.answer == ABSTAIN else 2


@dataclass(frozen=True)
class AttackReport:
    """The outcomes for all certificates.

    Attributes:
        images: the attacked images, in the order given.
        tried: number of images that were certified, including those that abstained and so were not attacked.
        restarts: attempts at each image; PREDICT answers once for each.
        alpha: probability with which a single certificate, or a single answer of PREDICT, may be wrong.
        scale: radius of the searched balls divided by the certified radius.
    """

    images: tuple[AttackedImage, ...]
    tried: int
    restarts: int
    alpha: float
    scale: float = 1.0

    def count(self, outcome: str) -> int:
        """Return the number of images with this outcome, one of :data:`OUTCOMES`."""
        return sum(image.outcome == outcome for image in self.images)

    @property
    def allowed(self) -> int:
        """The number of changed images that sound certificates exceed with probability at most 1e-3.

        If the certificates are sound, an image changes only if its certificate or one of the ``restarts`` answers is
        wrong. This has probability at most ``p = min(1, (1 + restarts) alpha)``, so the result is a quantile of the
        binomial distribution with ``tried`` trials and probability p. Abstentions count as trials, because alpha
        bounds the share of wrong certificates among all images that were tried.
        """
        chance = min(1.0, (1 + self.restarts) * self.alpha)
        return next(most for most in range(self.tried + 1) if special.bdtr(most, self.tried, chance) >= 1 - _CHANCE)

    @property
    def sound(self) -> bool:
        """Whether at most :attr:`allowed` images changed; always true if scale > 1, where nothing is certified."""
        return self.scale > 1 or self.count("changed") <= self.allowed
