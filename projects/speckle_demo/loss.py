"""A loss that attacks: cross-entropy on noisy copies of adversarial images."""

import torch
from torch import Tensor

from dmaelab.attacks import PGD, Balls
from dmaelab.losses import LOSSES, ClassificationLoss, LossContext
from dmaelab.losses.classification import cross_entropy
from dmaelab.utils.errors import UserError


@LOSSES.register("attacked_rs")
class AttackedRS(ClassificationLoss):
    """Cross-entropy on one noisy copy of an attacked image, a small form of SmoothAdv (Salman et al., 2019).

    Args:
        radius: radius of the l2 ball around each image in which the attack searches, in [0,1] pixel units.
        steps: gradient steps of the search.
        samples: number of noisy copies of an image over which each step averages.

    Raises:
        UserError: the radius is not above 0.
    """

    needs_hard_labels = True

    def __init__(self, radius: float = 0.25, steps: int = 2, samples: int = 2) -> None:
        super().__init__()
        if not 0 < radius < float("inf"):
            raise UserError(f"loss.radius is {radius}: give a radius above 0, in [0,1] pixel units")
        self.radius, self.attack = radius, PGD(steps=steps, restarts=1, samples=samples)

    def forward(self, context: LossContext) -> dict[str, Tensor]:
        """Return ``{"loss_ce"}``: the mean of -log F(x' + eta)_y, where x' is the attacked image and eta noise."""
        noisy = context.noisy(self._attacked(context), copies=1).images
        return {"loss_ce": cross_entropy(context.classifier(noisy).float(), context.targets, 1, 0.0)}

    def _attacked(self, context: LossContext) -> Tensor:
        """Return the attacked images, float32 [N,C,H,W]. The parameters get no gradient."""
        samples = self.attack.samples

        def noisy_logits(candidates: Tensor, step: int) -> Tensor:
            noisy = context.noisy(candidates, samples, tag=f"attack {step}").images  # copy by copy
            return classifier(noisy).unflatten(0, (samples, -1)).transpose(0, 1).flatten(0, 1)  # image by image

        radii = torch.full((len(context.images),), self.radius, dtype=torch.float64, device=context.images.device)
        with context.frozen() as classifier:
            return self.attack.search(noisy_logits, Balls(context.images, radii, "l2"), context.targets)[0]
