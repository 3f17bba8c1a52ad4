"""What an attack on certificates came to: attempts, images, and how many changes sound certificates allow."""

from dataclasses import dataclass
from typing import NamedTuple

from scipy import special
from torch import Tensor

from dmaelab.certifiers.build import ABSTAIN

OUTCOMES = ("held", "abstained", "changed")
"""What can become of an image, from good to bad: see :attr:`AttackedImage.outcome`."""

_CHANCE = 1e-3  # that sound certificates are called unsound


class Attempt(NamedTuple):
    """What one attempt at an image came to."""

    candidate: Tensor  # float32 [C,H,W] in [0,1], inside the ball, on the CPU
    distance: float  # of the candidate from the image, in the norm of the noise
    answer: int  # of PREDICT at the candidate; -1 abstains
    lead: int  # votes of the certified class above the strongest other one; below 0, those of the two largest classes


@dataclass(frozen=True)
class AttackedImage:
    """What became of one certificate.

    Attributes:
        index: of the image.
        prediction: the certified class.
        radius: of the ball that was searched, [0,1] pixel units.
        attempts: one for each restart.
    """

    index: int
    prediction: int
    radius: float
    attempts: tuple[Attempt, ...]

    @property
    def worst(self) -> Attempt:
        """The attempt with the worst answer, and among these the smallest lead of the certified class."""
        return max(self.attempts, key=lambda attempt: (self._severity(attempt), -attempt.lead))

    @property
    def outcome(self) -> str:
        """``"changed"`` if some answer is another class, else ``"abstained"`` if some is none, else ``"held"``."""
        return OUTCOMES[self._severity(self.worst)]

    def _severity(self, attempt: Attempt) -> int:
        return 0 if attempt.answer == self.prediction else 1 if attempt.answer == ABSTAIN else 2


@dataclass(frozen=True)
class AttackReport:
    """What became of all certificates.

    Attributes:
        images: those that were attacked, in the order given.
        tried: images whose certification led to these certificates, those that abstained among them.
        restarts: answers of PREDICT for each image.
        alpha: probability with which one certificate may be wrong, and one answer of PREDICT.
        scale: of the balls to the certified ones.
    """

    images: tuple[AttackedImage, ...]
    tried: int
    restarts: int
    alpha: float
    scale: float = 1.0

    def count(self, outcome: str) -> int:
        """Return the number of images with one of :data:`OUTCOMES`."""
        return sum(image.outcome == outcome for image in self.images)

    @property
    def allowed(self) -> int:
        """Changed images that sound certificates exceed with probability 1e-3 at most.

        An image changes only if its certificate is wrong or one of the answers is: the binomial quantile of
        ``tried`` images at ``min(1, (1 + restarts) alpha)``. Images that abstained count: alpha is the share of
        wrong certificates among all images that were tried, not among those that got one.
        """
        chance = min(1.0, (1 + self.restarts) * self.alpha)
        return next(most for most in range(self.tried + 1) if special.bdtr(most, self.tried, chance) >= 1 - _CHANCE)

    @property
    def sound(self) -> bool:
        """Whether no more images changed than alpha allows; true at a scale above 1, where nothing is promised."""
        return self.scale > 1 or self.count("changed") <= self.allowed
