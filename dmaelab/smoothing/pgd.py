"""Projected gradient ascent on a smoothed classifier: images in a ball at which its class is least likely."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dmaelab.corruptions import Corruption
from dmaelab.smoothing.evaluation import Evaluation, fixed_kernels
from dmaelab.smoothing.noise import Address, smoothing_noise
from dmaelab.smoothing.runner import device_of
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

NORMS = ("l2", "l1")
"""The norms of balls that can be searched."""

_MARGIN = 1e-6  # part of a radius that is left out: certified balls are open
_TRAVEL = 2.5  # radii that all steps of an attempt would go together, straight on


@dataclass(frozen=True)
class AttackAddress(Address):
    """Where the random numbers of one attempt at an image live; its purpose is ``"eval"``, which no certification has."""

    restart: int

    @property
    def name(self) -> str:
        """What messages call the attempt."""
        return f"image {self.index}, attack {self.restart}"

    def draw(self, stream: str, chunk: int, device: torch.device) -> Draw:
        """Return the draw of one chunk of a stream, or of one step."""
        return Draw(self.seed, self.purpose, "attack", stream, self.index, self.restart, chunk, device=device)


@dataclass(frozen=True)
class PGD:
    """SmoothAdv (Salman et al., 2019): PGD on ``J(d) = -log(1/m sum_i softmax(f(x + d + eta_i))_y)``.

    Attributes:
        steps: gradient steps, each of 2.5 radius / steps in the norm of the noise, and with fresh noise.
        restarts: attempts at each image, the first from the image itself, the others from random places in its ball.
        samples: noisy samples m of a gradient.

    Raises:
        UserError: a number below 1.
    """

    steps: int = 20
    restarts: int = 2
    samples: int = 32

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UserError(f"{name} is {value}: an attack needs at least 1")

    def search(
        self,
        classifier: nn.Module,
        images: Tensor,
        classes: Tensor,
        radii: Tensor,
        corruption: Corruption,
        addresses: Sequence[AttackAddress],
        evaluation: Evaluation,
    ) -> tuple[Tensor, Tensor]:
        """Make one attempt at each of B images; a forward has B x samples rows.

        Parameters get no gradient while it runs. Where the classifier gives none, directions are random.

        Args:
            classifier: [0,1] images [N,C,H,W] -> logits [N,K]; left in eval mode.
            images: float32 [B,C,H,W] in [0,1], on the device of the classifier.
            classes: int64 [B] in 0..K-1, what the attempts are to lead away from.
            radii: float64 [B] > 0 of the open balls, [0,1] pixel units.
            corruption: the noise; its geometry names the norm. That of ``quantised_gaussian`` is for 8-bit images.
            addresses: of each attempt's random numbers; restart 0 starts from the image itself.
            evaluation: the arithmetic of the forward.

        Returns:
            Images float32 [B,C,H,W] in [0,1], 8-bit where the originals must be, and their distances float64 [B].

        Raises:
            UserError: balls in another norm than l2 and l1, or logits without a column for one of the classes.
        """
        device, balls = device_of(classifier), Balls(images, radii, corruption)
        classifier.eval()
        offsets = balls.start(addresses)
        with fixed_kernels(device), _frozen(classifier), torch.enable_grad():
            for step in range(self.steps):
                candidates = balls.images(offsets).requires_grad_()
                noise = [address.draw("noise", step, device) for address in addresses]
                noisy = torch.cat([self._samples(*pair, corruption) for pair in zip(candidates, noise, strict=True)])
                with evaluation.autocast(device):
                    logits = classifier(noisy)
                _check_logits(logits, len(noisy), int(classes.max()))
                gradients = _gradients(logits, classes, candidates)
                for row in (gradients == 0).all(1).nonzero().flatten().tolist():
                    gradients[row] = addresses[row].draw("direction", step, device).normal(gradients[row].shape)
                offsets = balls.climb(offsets, gradients, _TRAVEL / self.steps)
        found = balls.images(offsets)
        return found, balls.distances(found)

    def _samples(self, image: Tensor, draw: Draw, corruption: Corruption) -> Tensor:
        """Return noisy samples [m,C,H,W] of one image, differentiable in it."""
        sigma = torch.full((self.samples,), smoothing_noise(corruption)[1], device=image.device)
        return corruption.apply(image.expand(self.samples, -1, -1, -1), sigma, draw)


class Balls:
    """The images in B open balls, as offsets float64 [B,D] from their centres.

    Args:
        images: float32 [B,C,H,W] in [0,1], the centres.
        radii: float64 [B].
        corruption: of the certificates: gives the norm, and whether only 8-bit images count.
    """

    def __init__(self, images: Tensor, radii: Tensor, corruption: Corruption) -> None:
        self.norm = smoothing_noise(corruption)[0].norm
        if self.norm not in NORMS:
            raise UserError(f"the certificates are for balls in {self.norm}: the attack knows {' and '.join(NORMS)}")
        self.radii = radii.view(-1, 1)
        self._steps = corruption.steps
        self._shape, self._centres = images.shape, self._exact(images)

    def start(self, addresses: Sequence[AttackAddress]) -> Tensor:
        """Return where the attempts begin: 0 for restart 0, else in a random direction a uniform share of the radius."""
        offsets = torch.zeros_like(self._centres)
        for row, address in enumerate(addresses):
            if address.restart:
                offsets[row] = address.draw("start", 0, offsets.device).normal(offsets[row].shape)
                offsets[row] *= address.draw("length", 0, offsets.device).uniform((1,)) / self._length(offsets[row])
        return self.cut(self.radii * offsets)

    def cut(self, offsets: Tensor) -> Tensor:
        """Return the offsets projected onto the balls less a margin, then cut where a value would leave [0,1]."""
        limits = self.radii * (1 - _MARGIN)
        projected = project_l1(offsets, limits) if self.norm == "l1" else project_l2(offsets, limits)
        return (self._centres + projected).clamp(0, 1) - self._centres

    def climb(self, offsets: Tensor, gradients: Tensor, share: float) -> Tensor:
        """Return the offsets after a step of ``share`` radii in the direction that is steepest in the norm.

        Values that are 0 or 1 already and would leave [0,1] have no part in it. In l1 the steepest direction
        is the one value with the largest derivative.
        """
        values = self._centres + offsets
        free = torch.where(gradients > 0, values < 1, values > 0)
        gradients = gradients * free
        if self.norm == "l1":
            largest = gradients.abs().argmax(1, keepdim=True)
            direction = torch.zeros_like(gradients).scatter(1, largest, gradients.gather(1, largest).sign())
        else:
            direction = nn.functional.normalize(gradients, eps=1e-300)
        return self.cut(offsets + share * self.radii * direction)

    def images(self, offsets: Tensor) -> Tensor:
        """Return images float32 [B,C,H,W], rounded towards the centres: no value is farther away than its offset."""
        if self._steps:
            steps = self._steps * self._centres
            values = (steps + torch.trunc(self._steps * offsets)).round() / self._steps
            return values.float().view(self._shape)
        values = (self._centres + offsets).float()
        grown = (values.double() - self._centres).abs() > offsets.abs()
        return torch.where(grown, values.nextafter(self._centres.float()), values).view(self._shape)

    def distances(self, images: Tensor) -> Tensor:
        """Return the distances float64 [B] of images [B,C,H,W] from the centres."""
        return self._length(self._exact(images) - self._centres)

    def _length(self, offsets: Tensor) -> Tensor:
        return torch.linalg.vector_norm(offsets, ord=1 if self.norm == "l1" else 2, dim=-1)

    def _exact(self, images: Tensor) -> Tensor:
        """Return images as float64 [B,D]; float32 holds k/255 to about 3e-8 only."""
        values = images.detach().double().flatten(1)
        return (self._steps * values).round() / self._steps if self._steps else values


def project_l2(offsets: Tensor, limits: Tensor) -> Tensor:
    """Return the nearest points [B,D] to ``offsets`` [B,D] with an l2 norm of at most ``limits`` [B,1]."""
    return offsets * (limits / offsets.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp(max=1)


def project_l1(offsets: Tensor, limits: Tensor) -> Tensor:
    """Return the nearest points [B,D] to ``offsets`` [B,D] with an l1 norm of at most ``limits`` [B,1] > 0.

    All sizes shrink by the same amount, down to 0; sorting gives the amount (Duchi et al., 2008, Figure 1).
    """
    sizes = offsets.abs()
    ordered = sizes.sort(dim=1, descending=True).values
    amounts = (ordered.cumsum(1) - limits) / torch.arange(1, sizes.shape[1] + 1, device=sizes.device)
    kept = (ordered > amounts).sum(1, keepdim=True)
    amount = amounts.gather(1, kept - 1).clamp(min=0)
    return offsets.sign() * (sizes - amount).clamp(min=0)


def _check_logits(logits: Tensor, rows: int, largest: int) -> None:
    if logits.ndim != 2 or len(logits) != rows or logits.shape[1] <= largest:
        raise UserError(f"the classifier returns {list(logits.shape)} for {rows} images, but a certificate names class {largest}")


def _gradients(logits: Tensor, classes: Tensor, candidates: Tensor) -> Tensor:
    """Return the gradients of J at B candidates but for a factor each, float64 [B,D]; 0 where there is none.

    Args:
        logits: [B*m,K] at the noisy candidates.
        classes: int64 [B], y.
        candidates: [B,C,H,W].
    """
    if not logits.requires_grad:
        return torch.zeros_like(candidates).double().flatten(1)
    # In float64 a probability of almost 1 has a gradient still, and with a largest entry of 1 float16 can carry it back.
    leaf = logits.detach().double().requires_grad_()
    log_p = leaf.log_softmax(1).unflatten(0, (len(candidates), -1))
    loss = -log_p[torch.arange(len(candidates), device=logits.device), :, classes].logsumexp(1).sum()
    pull = torch.autograd.grad(loss, leaf)[0].nan_to_num(0, 0, 0).view_as(log_p)
    pull = pull / pull.abs().amax((1, 2), keepdim=True).clamp_min(1e-300)
    (gradients,) = torch.autograd.grad(logits, candidates, pull.flatten(0, 1).to(logits.dtype))
    return gradients.double().nan_to_num(0, 0, 0).flatten(1)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Let no parameter take a gradient inside; each takes one again after, also after an exception, if it did before."""
    required = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.requires_grad_(False)
        yield
    finally:
        for parameter, before in required:
            parameter.requires_grad_(before)
