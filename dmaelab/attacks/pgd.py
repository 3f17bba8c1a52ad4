"""Projected gradient ascent on a smoothed classifier: images in a ball at which its class is least likely."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dmaelab.attacks.balls import Balls
from dmaelab.corruptions import Corruption
from dmaelab.smoothing.arithmetic import Arithmetic, fixed_kernels
from dmaelab.smoothing.noise import AttackAddress, smoothing_noise
from dmaelab.smoothing.runner import device_of
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

_TRAVEL = 2.5  # radii that all steps of an attempt would go together, straight on


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
        arithmetic: Arithmetic,
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
            arithmetic: the arithmetic of the forward.

        Returns:
            Images float32 [B,C,H,W] in [0,1], 8-bit where the originals must be, and their distances float64 [B].

        Raises:
            UserError: balls in another norm than l2 and l1, or logits without a column for one of the classes.
        """
        device, balls, largest = device_of(classifier), Balls(images, radii, corruption), int(classes.max())
        classifier.eval()
        offsets = balls.start(addresses)
        with fixed_kernels(device), _frozen(classifier), torch.enable_grad():
            for step in range(self.steps):
                candidates = balls.images(offsets).requires_grad_()
                draws = [address.draw("noise", step, device) for address in addresses]
                noisy = torch.cat([self._samples(*pair, corruption) for pair in zip(candidates, draws, strict=True)])
                with arithmetic.autocast(device):
                    logits = classifier(noisy)
                _check_logits(logits, len(noisy), largest)
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


def _check_logits(logits: Tensor, rows: int, largest: int) -> None:
    if logits.ndim != 2 or len(logits) != rows or logits.shape[1] <= largest:
        raise UserError(
            f"the classifier returns {list(logits.shape)} for {rows} images, but a certificate names class {largest}"
        )


def _gradients(logits: Tensor, classes: Tensor, candidates: Tensor) -> Tensor:
    """Return the gradients of J at B candidates but for a factor each, float64 [B,D]; 0 where there is none.

    Args:
        logits: [B*m,K] at the noisy candidates.
        classes: int64 [B], y.
        candidates: [B,C,H,W].
    """
    if not logits.requires_grad:
        return torch.zeros_like(candidates).double().flatten(1)
    # In float64 a probability of almost 1 has a gradient still, and with a largest entry of 1 float16 can carry it
    # back.
    leaf = logits.detach().double().requires_grad_()
    log_p = leaf.log_softmax(1).unflatten(0, (len(candidates), -1))
    loss = -log_p[torch.arange(len(candidates), device=logits.device), :, classes].logsumexp(1).sum()
    pull = torch.autograd.grad(loss, leaf)[0].nan_to_num(0, 0, 0).view_as(log_p)
    pull = pull / pull.abs().amax((1, 2), keepdim=True).clamp_min(1e-300)
    (gradients,) = torch.autograd.grad(logits, candidates, pull.flatten(0, 1).to(logits.dtype))
    return gradients.double().nan_to_num(0, 0, 0).flatten(1)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Let no parameter take a gradient inside; afterwards each takes one again if it did before."""
    required = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.requires_grad_(False)
        yield
    finally:
        for parameter, before in required:
            parameter.requires_grad_(before)
