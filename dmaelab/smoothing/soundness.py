"""The attack on certificates: search each certified ball for an image that gets another class.

It is a test of soundness. If an attack finds such an image, the certificate is false (up to alpha). If it finds none,
this does not prove the certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmaelab.attacks import PGD, Balls, NoisyLogits
from dmaelab.certifiers.certificate import Certificate
from dmaelab.certifiers.predict import Predict
from dmaelab.smoothing.arithmetic import fixed_kernels
from dmaelab.smoothing.attack_report import AttackedImage, AttackReport, Attempt
from dmaelab.smoothing.noise import AttackAddress
from dmaelab.smoothing.probe import check_rows
from dmaelab.smoothing.smoothing import Smoothing, check_logits
from dmaelab.smoothing.votes import Flight, VotePool
from dmaelab.stats.bounds import smallest_n_predict
from dmaelab.utils.errors import UserError
from dmaelab.utils.freezing import frozen
from dmaelab.utils.machine import machine_faults


@dataclass(frozen=True)
class _Ball:
    """The ball around one certified image."""

    index: int
    image: Tensor  # float32 [C,H,W], on the CPU
    prediction: int
    radius: float


def attack_certified(
    smoothing: Smoothing,
    images: Sequence[Tensor],
    certificates: Sequence[Certificate | tuple[int, float]],
    *,
    alpha: float = 0.001,
    n: int = 1000,
    attack: PGD | None = None,
    scale: float = 1.0,
    indices: Sequence[int] | None = None,
    tried: int | None = None,
) -> AttackReport:
    """Attack each certified image inside its certified ball, and let PREDICT classify the images that were found.

    Images that abstained or have radius 0 are left out, because nothing was certified for them. The first attempt at an
    image starts from the image itself, the others from random points in its ball. If the base classifier gives no
    gradient, the direction of a step is random. The noise is independent of that of the certification. Meanwhile the
    parameters of the base classifier record no gradients; it is left in eval mode.

    Args:
        smoothing: the smoothed classifier that was certified, such as a :class:`SmoothedClassifier`. Its seed is also
            the seed of the search and of PREDICT. Its batch size must be at least ``attack.samples``; the search keeps
            the activations of one batch in memory.
        images: float [C,H,W] in [0,1], all of one shape.
        certificates: ``(prediction, radius)`` of each image, radius in the norm of the corruption, [0,1] pixel units.
        alpha: alpha of the certificates; PREDICT uses the same.
        n: samples of PREDICT.
        attack: how to search; None means ``PGD()``.
        scale: factor for all radii; values above 1 show how tight the certificates are.
        indices: indices of the images in their data set, which are part of the address of their noise; None counts
            from 0.
        tried: number of certified images, including abstentions, that the given ones represent. It matters if
            ``images`` holds only images that did not abstain. None means ``len(images)``.

    Returns:
        The outcome of every attacked image, and how many changes sound certificates allow.

    Raises:
        UserError: bad input, a norm other than l2 and l1, or no certificate with a radius above 0.
        MachineError: the machine failed, for example because memory is full.
    """
    if n < (least := smallest_n_predict(alpha)):
        raise UserError(
            f"n is {n}: no vote of so few samples passes the test of PREDICT at alpha={alpha:g}, give n >= {least}"
        )
    if not 0 < scale < float("inf"):
        raise UserError(f"scale is {scale}: give a factor of the radii, more than 0")
    attack = attack or PGD()
    balls = _balls(smoothing, images, certificates, range(len(images)) if indices is None else indices, scale)
    attacked = _attack(smoothing, balls, attack, Predict(n, alpha))
    return AttackReport(tuple(attacked), len(images) if tried is None else tried, attack.restarts, alpha, scale)


@machine_faults("lower certify.batch_size, here without another certify.name, or the samples (--samples)")
def _attack(smoothing: Smoothing, balls: list[_Ball], attack: PGD, certifier: Predict) -> list[AttackedImage]:
    """Search each ball ``attack.restarts`` times, and return what PREDICT answers for the images that were found."""
    pool = VotePool(smoothing, tuple(balls[0].image.shape))
    check_rows(smoothing, pool.shape)  # before the search, which takes longer than PREDICT
    pairs = [
        (ball, AttackAddress(smoothing.seed, "eval", ball.index, restart))
        for restart in range(attack.restarts)
        for ball in balls
    ]
    candidates, distances = _search_all(smoothing, pairs, attack)
    attempts = []
    for begin in range(0, len(pairs), len(balls)):  # one restart at a time: answers are found by the image's index
        rows = slice(begin, begin + len(balls))
        answers = _predict(pool, candidates[rows], [address for _, address in pairs[rows]], certifier)
        attempts += [_attempt(*found) for found in zip(balls, candidates[rows], distances[rows], answers, strict=True)]
    return [
        AttackedImage(ball.index, ball.prediction, ball.radius, tuple(attempts[row :: len(balls)]))
        for row, ball in enumerate(balls)
    ]


def _balls(
    smoothing: Smoothing,
    images: Sequence[Tensor],
    certificates: Sequence[Certificate | tuple[int, float]],
    indices: Sequence[int],
    scale: float,
) -> list[_Ball]:
    """Return the balls to search; raises the ``UserError`` of :func:`attack_certified` for bad input."""
    if not len(images) == len(certificates) == len(indices) == len(set(indices)):
        raise UserError(
            f"{len(images)} images, {len(certificates)} certificates, {len(set(indices))} different indices: give one"
            " of each"
        )
    balls: list[_Ball] = []
    for index, image, (prediction, radius) in zip(indices, images, certificates, strict=True):
        if prediction >= smoothing.num_classes:
            raise UserError(
                f"image {index} is certified as class {prediction}, but num_classes is {smoothing.num_classes}"
            )
        if prediction < 0 or not radius > 0:
            continue
        image = smoothing.check(image, f"image {index}").cpu()
        if balls and image.shape != balls[0].image.shape:
            raise UserError(
                f"image {index} has the shape {list(image.shape)}, not {list(balls[0].image.shape)} as the first:"
                " crop or resize"
            )
        # No two images in [0,1] are farther apart than their number of values, in l1 or l2; a radius may be infinite.
        balls.append(_Ball(int(index), image, int(prediction), min(float(radius) * scale, float(image.numel()))))
    if not balls:
        raise UserError("no image is certified with a radius above 0: there is nothing to attack")
    return balls


def _search_all(smoothing: Smoothing, pairs: list[tuple[_Ball, AttackAddress]], attack: PGD) -> tuple[Tensor, Tensor]:
    """Return a candidate image for each pair and its distance, on the CPU; a batch searches several pairs at once."""
    width = smoothing.batch_size // attack.samples
    if width < 1:
        raise UserError(
            f"batch_size is {smoothing.batch_size}, less than the {attack.samples} samples of a gradient: raise it, or"
            " take fewer"
        )
    found = []
    with fixed_kernels(smoothing.device), frozen(smoothing.base_classifier):
        for begin in range(0, len(pairs), width):
            balls, addresses = zip(*pairs[begin : begin + width], strict=True)
            found.append(_search(smoothing, balls, addresses, attack))
    candidates, distances = zip(*found, strict=True)
    return torch.cat(candidates).cpu(), torch.cat(distances).cpu()


def _search(
    smoothing: Smoothing, targets: Sequence[_Ball], addresses: Sequence[AttackAddress], attack: PGD
) -> tuple[Tensor, Tensor]:
    """Make one attempt at each target; return the images found and their distances, on the device.

    All random numbers come from the addresses of the attempts.
    """
    device, corruption = smoothing.device, smoothing.corruption
    images = torch.stack([target.image for target in targets]).to(device)
    classes = torch.tensor([target.prediction for target in targets], device=device)
    radii = torch.tensor([target.radius for target in targets], dtype=torch.float64, device=device)
    balls = Balls(images, radii, smoothing.geometry.norm, corruption.steps)

    def directions(rows: list[int], step: int) -> Tensor:
        shape = balls.centres[0].shape
        return torch.stack([addresses[row].draw("direction", step, device).normal(shape) for row in rows])

    noisy_logits = _noisy_logits(smoothing, addresses, attack.samples)
    return attack.search(noisy_logits, balls, classes, _start(balls, addresses, device), directions)


def _noisy_logits(smoothing: Smoothing, addresses: Sequence[AttackAddress], samples: int) -> NoisyLogits:
    """Return the function that gives the search its logits, with the noise of each attempt's own address."""
    sigma = torch.full((samples,), smoothing.sigma, device=smoothing.device)

    def logits(candidates: Tensor, step: int) -> Tensor:
        noisy = torch.cat(
            [
                smoothing.corruption.apply(
                    image.expand(samples, -1, -1, -1), sigma, address.draw("noise", step, smoothing.device)
                )
                for image, address in zip(candidates, addresses, strict=True)
            ]
        )
        with smoothing.arithmetic.autocast(smoothing.device):
            return check_logits(smoothing.base_classifier(noisy), len(noisy), smoothing.num_classes)

    return logits


def _start(balls: Balls, addresses: Sequence[AttackAddress], device: torch.device) -> Tensor:
    """Return where the attempts begin, as offsets float64 [B,D] from the images.

    Restart 0 begins at the image. The others begin in a random direction from it, at a distance that is a uniformly
    random share of the radius.
    """
    shares = torch.zeros_like(balls.centres)
    for row, address in enumerate(addresses):
        if address.restart:
            shares[row] = address.draw("start", 0, device).normal(shares[row].shape)
            shares[row] *= address.draw("length", 0, device).uniform((1,)) / balls.length(shares[row])
    return balls.at(shares)


def _predict(pool: VotePool, images: Tensor, addresses: list[AttackAddress], certifier: Predict) -> list[Certificate]:
    """Return the answer of PREDICT for each image."""
    found: dict[int, Certificate] = {}
    flights = (
        Flight(pool.smoothing, certifier, address, image, None)
        for image, address in zip(images, addresses, strict=True)
    )
    pool.run(flights, lambda flight, certificate: found.update({flight.index: certificate}))
    return [found[address.index] for address in addresses]


def _attempt(ball: _Ball, candidate: Tensor, distance: Tensor, answer: Certificate) -> Attempt:
    lead = int(answer.count_a - answer.count_b)
    return Attempt(candidate, float(distance), answer.prediction, lead if answer.top == ball.prediction else -lead)
