"""A soundness check by attack: no image found inside a certified ball may change the smoothed classifier's answer.

A certificate that an attack breaks is false; one that it does not break is not thereby true.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy import special
from torch import Tensor, nn

from dmaelab.attacks.pgd import PGD
from dmaelab.certifiers.build import ABSTAIN, Certificate
from dmaelab.certifiers.predict import Predict
from dmaelab.corruptions import Corruption
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.noise import AttackAddress, check_image
from dmaelab.smoothing.runner import device_of, make_flight
from dmaelab.smoothing.votes import Flight, VotePool
from dmaelab.stats.bounds import smallest_n_predict
from dmaelab.utils.errors import UserError

OUTCOMES = ("held", "abstained", "changed")

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


@dataclass(frozen=True)
class _Ball:
    """What there is to search."""

    index: int
    image: Tensor  # float32 [C,H,W], on the CPU
    prediction: int
    radius: float


def attack_certified(
    classifier: nn.Module,
    images: Sequence[Tensor],
    certificates: Sequence[Certificate | tuple[int, float]],
    corruption: Corruption,
    *,
    num_classes: int,
    alpha: float = 0.001,
    n: int = 1000,
    attack: PGD | None = None,
    scale: float = 1.0,
    batch_size: int = 256,
    arithmetic: Arithmetic | None = None,
    on_invalid: str = "stop",
    seed: int = 0,
    indices: Sequence[int] | None = None,
    tried: int | None = None,
) -> AttackReport:
    """Attack each certified image inside its own ball, and ask PREDICT for the class of what was found.

    Abstentions and radii of 0 claim nothing and are left out. No certification uses the addresses of this noise.

    Args:
        classifier: [0,1] images [N,C,H,W] (noisy, unclamped) -> logits [N, num_classes]; left in eval mode. Where it
            gives no gradient, directions are random.
        images: float [C,H,W] in [0,1], all of one shape.
        certificates: ``(prediction, radius)`` of each, radius in the norm of the corruption, [0,1] pixel units.
        corruption: the noise that they are for, with one sigma > 0.
        num_classes: K.
        alpha: of the certificates; PREDICT takes the same.
        n: samples of PREDICT.
        attack: how to search; None takes ``PGD()``.
        scale: factor of all radii; above 1 it shows how tight certificates are.
        batch_size: rows of a forward, at least ``attack.samples``; the search keeps the activations of so many.
        arithmetic: the arithmetic of the forward, as for the certificates; None takes ``Arithmetic()``.
        on_invalid: what PREDICT does at logits that are not finite, as for :class:`VotePool`.
        seed: of the search and of PREDICT.
        indices: of the images in their data set, part of the addresses of their noise; None counts from 0.
        tried: where the certificates are a choice of those that did not abstain: how many images, abstentions
            included, the choice stands for. None takes their number.

    Raises:
        UserError: bad input, a norm other than l2 and l1, or no certificate with a radius.
    """
    if n < (least := smallest_n_predict(alpha)):
        raise UserError(
            f"n is {n}: no vote of so few samples passes the test of PREDICT at alpha={alpha:g}, give n >= {least}"
        )
    attack, arithmetic, certifier = attack or PGD(), arithmetic or Arithmetic(), Predict(n, alpha)
    if not 0 < scale < float("inf"):
        raise UserError(f"scale is {scale}: give a factor of the radii, more than 0")
    balls = _balls(
        images, certificates, range(len(images)) if indices is None else indices, num_classes, corruption, scale
    )
    device, shape = device_of(classifier), tuple(balls[0].image.shape)
    pool = VotePool(classifier, num_classes, shape, batch_size, device, arithmetic, on_invalid)
    pairs = [
        (ball, AttackAddress(seed, "eval", ball.index, restart)) for restart in range(attack.restarts) for ball in balls
    ]
    candidates, distances = _search(classifier, pairs, corruption, attack, pool)
    attempts = []
    for begin in range(0, len(pairs), len(balls)):  # one restart: in one run of the pool, an image comes once
        rows = slice(begin, begin + len(balls))
        answers = _predict(pool, candidates[rows], [address for _, address in pairs[rows]], certifier, corruption)
        attempts += [_attempt(*found) for found in zip(balls, candidates[rows], distances[rows], answers, strict=True)]
    attacked = [
        AttackedImage(ball.index, ball.prediction, ball.radius, tuple(attempts[row :: len(balls)]))
        for row, ball in enumerate(balls)
    ]
    return AttackReport(tuple(attacked), len(images) if tried is None else tried, attack.restarts, alpha, scale)


def _balls(
    images: Sequence[Tensor],
    certificates: Sequence[Certificate | tuple[int, float]],
    indices: Sequence[int],
    num_classes: int,
    corruption: Corruption,
    scale: float,
) -> list[_Ball]:
    """Return what there is to search; ``UserError`` as :func:`attack_certified` has it."""
    if not len(images) == len(certificates) == len(indices) == len(set(indices)):
        raise UserError(
            f"{len(images)} images, {len(certificates)} certificates, {len(set(indices))} different indices: give one"
            " of each"
        )
    balls: list[_Ball] = []
    for index, image, (prediction, radius) in zip(indices, images, certificates, strict=True):
        if prediction >= num_classes:
            raise UserError(f"image {index} is certified as class {prediction}, but num_classes is {num_classes}")
        if prediction < 0 or not radius > 0:
            continue
        image = check_image(image, f"image {index}").cpu()
        corruption.check(image)
        if balls and image.shape != balls[0].image.shape:
            raise UserError(
                f"image {index} has the shape {list(image.shape)}, not {list(balls[0].image.shape)} as the first:"
                " crop or resize"
            )
        # Beyond the number of values lies no other image, in any of the norms; a radius may be infinite.
        balls.append(_Ball(int(index), image, int(prediction), min(float(radius) * scale, float(image.numel()))))
    if not balls:
        raise UserError("no image is certified with a radius above 0: there is nothing to attack")
    return balls


def _search(
    classifier: nn.Module, pairs: list[tuple[_Ball, AttackAddress]], corruption: Corruption, attack: PGD, pool: VotePool
) -> tuple[Tensor, Tensor]:
    """Return one candidate for each pair, and its distance, on the CPU: as many at once as fill a batch of the pool."""
    width = pool.batch_size // attack.samples
    if width < 1:
        raise UserError(
            f"batch_size is {pool.batch_size}, less than the {attack.samples} samples of a gradient: raise it, or"
            " take fewer"
        )
    found = []
    for begin in range(0, len(pairs), width):
        balls, addresses = zip(*pairs[begin : begin + width], strict=True)
        images = torch.stack([ball.image for ball in balls]).to(pool.device)
        classes = torch.tensor([ball.prediction for ball in balls], device=pool.device)
        radii = torch.tensor([ball.radius for ball in balls], dtype=torch.float64, device=pool.device)
        found.append(attack.search(classifier, images, classes, radii, corruption, addresses, pool.arithmetic))
    candidates, distances = zip(*found, strict=True)
    return torch.cat(candidates).cpu(), torch.cat(distances).cpu()


def _predict(
    pool: VotePool, images: Tensor, addresses: list[AttackAddress], certifier: Predict, corruption: Corruption
) -> list[Certificate]:
    """Return what PREDICT finds for each image."""
    found: dict[int, Certificate] = {}

    def deliver(flight: Flight, certificate: Certificate) -> None:
        found[flight.index] = certificate

    pairs = zip(images, addresses, strict=True)
    pool.run(
        (
            make_flight(image, None, address, certifier, corruption, pool.num_classes, pool.device)
            for image, address in pairs
        ),
        deliver,
    )
    return [found[address.index] for address in addresses]


def _attempt(ball: _Ball, candidate: Tensor, distance: Tensor, answer: Certificate) -> Attempt:
    lead = int(answer.count_a - answer.count_b)
    return Attempt(candidate, float(distance), answer.prediction, lead if answer.top == ball.prediction else -lead)
