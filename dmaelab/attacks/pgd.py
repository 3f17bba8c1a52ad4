"""Projected gradient ascent: search a ball for the image at which a class is least likely under noise."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dmaelab.attacks.balls import Balls
from dmaelab.utils.errors import UserError

NoisyLogits = Callable[[Tensor, int], Tensor]
"""Function from candidates float32 [B,C,H,W] and the step's number to logits [B*m,K] of m noisy copies of each.

The logits must be differentiable in the candidates. They are image-major: row ``i*m + j`` is copy j of candidate i.
The function chooses the noise of each step and the precision of the classifier.
"""

Directions = Callable[[list[int], int], Tensor]
"""Function from rows of the batch and the step's number to a random direction for each of them, [len(rows),D]."""

_TRAVEL = 2.5  # total length of all steps of an attempt, in radii


@dataclass(frozen=True)
class PGD:
    """SmoothAdv (Salman et al., 2019): PGD on ``J(d) = -log(1/m sum_i softmax(f(x + d + eta_i))_y)``.

    Attributes:
        steps: number of gradient steps; each has the length 2.5 radius / steps in the norm of the balls.
        restarts: attempts at each image. :meth:`search` makes one; its caller chooses where each begins.
        samples: number m of noisy samples for each gradient.

    Raises:
        UserError: one of them is below 1.
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
        noisy_logits: NoisyLogits,
        balls: Balls,
        classes: Tensor,
        start: Tensor | None = None,
        directions: Directions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Make one attempt at each of B images; every step calls ``noisy_logits`` once, for all of them.

        Gradients are computed for the candidates only, and parameters get none. Freeze the parameters during the search
        to save memory.

        Args:
            noisy_logits: returns logits [B*samples,K] of noisy copies.
            balls: B balls to search, on the device of the classifier.
            classes: int64 [B] in 0..K-1, the classes that the search makes less likely.
            start: offsets float64 [B,D] from the centres at which to begin, inside the balls; None means the centres.
            directions: gives the direction of the step for rows with gradient 0. With None such rows do not move, and
                the CPU never has to wait for the device.

        Returns:
            The images found, float32 [B,C,H,W] in [0,1] (multiples of 1/steps if the balls have ``steps``), and their
            distances from the centres, float64 [B].

        Raises:
            UserError: the logits have another shape.
        """
        offsets = torch.zeros_like(balls.centres) if start is None else start
        with torch.enable_grad():
            for step in range(self.steps):
                candidates = balls.images(offsets).requires_grad_()
                logits = noisy_logits(candidates, step)
                if logits.ndim != 2 or len(logits) != len(candidates) * self.samples:
                    raise UserError(
                        f"the attack got logits of the shape {list(logits.shape)} for {self.samples} noisy copies of"
                        f" each of {len(candidates)} images: it needs [{len(candidates) * self.samples}, classes]"
                    )
                gradients = _gradients(logits, classes, candidates)
                if directions is not None and (lost := (gradients == 0).all(1).nonzero().flatten().tolist()):
                    gradients[lost] = directions(lost, step).to(gradients)
                offsets = balls.climb(offsets, gradients, _TRAVEL / self.steps)
        found = balls.images(offsets)
        return found, balls.distances(found)


def _gradients(logits: Tensor, classes: Tensor, candidates: Tensor) -> Tensor:
    """Return the gradients of J at B candidates, float64 [B,D], each up to a positive factor; 0 if there is none.

    Args:
        logits: [B*m,K] at the noisy candidates.
        classes: int64 [B], y.
        candidates: [B,C,H,W].
    """
    if not logits.requires_grad:
        return torch.zeros_like(candidates).double().flatten(1)
    # In float64 the gradient does not vanish at a probability of almost 1. Scaled so that its largest entry is 1, it
    # can be passed back through a float16 network.
    leaf = logits.detach().double().requires_grad_()
    log_p = leaf.log_softmax(1).unflatten(0, (len(candidates), -1))
    loss = -log_p[torch.arange(len(candidates), device=logits.device), :, classes].logsumexp(1).sum()
    pull = torch.autograd.grad(loss, leaf)[0].nan_to_num(0, 0, 0).view_as(log_p)
    pull = pull / pull.abs().amax((1, 2), keepdim=True).clamp_min(1e-300)
    (gradients,) = torch.autograd.grad(logits, candidates, pull.flatten(0, 1).to(logits.dtype))
    return gradients.double().nan_to_num(0, 0, 0).flatten(1)
