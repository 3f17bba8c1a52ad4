"""The base classifier of the smoothed model: what is certified, saved and deployed."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from dmaelab.modeling.build import Backbone
from dmaelab.modeling.preprocess import Preprocess
from dmaelab.utils.errors import ConfigError


class Classifier(nn.Module):
    """Logits of [0,1] images, noisy and unclamped, at native size; it adds no noise itself.

    Args:
        backbone: normalised images -> features.
        num_classes: number of classes K.
        pixel_mean, pixel_std: per channel, in [0,1] pixel units; buffers, saved with the weights.
        input_size: side to resize to before the backbone; ``None`` keeps the native size.
        head: ``"linear"``, or ``"bn_linear"`` with batch normalisation without affine parameters before it, for linear
            probing (paper, Section 4.4).

    Raises:
        ConfigError: there are fewer than 2 classes.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_size: int | None = None,
        head: Literal["linear", "bn_linear"] = "linear",
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ConfigError(f"num_classes is {num_classes}: a classifier needs at least 2")
        self.num_classes = num_classes
        self.preprocess = Preprocess(pixel_mean, pixel_std, input_size)
        self.backbone = backbone
        linear = nn.Linear(backbone.num_features, num_classes)
        # As the reference: nearly zero in fine-tuning, so that no class is preferred; MAE's 0.01 in probing.
        nn.init.trunc_normal_(linear.weight, std=2e-5 if head == "linear" else 0.01)
        nn.init.zeros_(linear.bias)
        self.head = (
            linear
            if head == "linear"
            else nn.Sequential(nn.BatchNorm1d(backbone.num_features, affine=False, eps=1e-6), linear)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N,K] of images [N,C,H,W]."""
        return self.head(self.backbone(self.preprocess(images)))

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the layers of the backbone. The head is in none of them: it learns at the full rate."""
        return self.backbone.layers()
