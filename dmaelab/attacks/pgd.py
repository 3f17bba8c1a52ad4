"""Projected gradient ascent on a classifier under noise: images in a ball at which a class is least likely."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dmaelab.attacks.balls import Balls
from dmaelab.utils.errors import UserError

NoisyLogits = Callable[[Tensor, int], Tensor]
"""Candidates float32 [B,C,H,W] and the number of the step -> logits [B*m,K] of m noisy copies of each candidate.

Differentiable in the candidates, and image-major: row ``i*m + j`` is copy j of candidate i. Which noise a step gets,
and in which precision the classifier runs, is the function's own business.
"""

Directions = Callable[[list[int], int], Tensor]
"""Rows of the batch and the number of the step -> a random direction for each of these rows, [len(rows),D]."""

_TRAVEL = 2.5  # radii that all steps of an attempt would go together, straight on


@dataclass(frozen=True)
class PGD:
    """SmoothAdv (Salman et al., 2019): PGD on ``J(d) = -log(1/m sum_i softmax(f(x + d + eta_i))_y)``.

    Attributes:
        steps: gradient steps, each of 2.5 radius / steps in the norm of the balls.
        restarts: attempts at each image. :meth:`search` makes one; its caller chooses where each begins.
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
        noisy_logits: NoisyLogits,
        balls: Balls,
        classes: Tensor,
        start: Tensor | None = None,
        directions: Directions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Make one attempt at each of B images; every step calls ``noisy_logits`` once, for all of them.

        Parameters get no gradient: only the candidates are differentiated. Whoever freezes the parameters meanwhile
        spares the memory of what their gradients would need.

        Args:
            noisy_logits: logits [B*samples,K] of noisy copies.
            balls: B balls to search, on the device of the classifier.
            classes: int64 [B] in 0..K-1, what the attempts are to lead away from.
            start: offsets float64 [B,D] from the centres at which to begin, inside the balls; None means the centres.
            directions: where a row goes when its gradient is 0. None lets it stay where it is, and then the host
                never waits for the device.

        Returns:
            Images float32 [B,C,H,W] in [0,1], of the steps of the balls, and their distances float64 [B].

        Raises:
            UserError: logits of another shape.
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
