"""The base classifier of the smoothed model: what is certified, saved and deployed."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from dmaelab.modeling.base import Backbone
from dmaelab.modeling.preprocess import Preprocess
from dmaelab.utils.errors import ConfigError


class Classifier(nn.Module):
    """Preprocessing, backbone and linear head: maps [0,1] images to logits.

    The images may be noisy and unclamped, and have their native size. The classifier adds no noise itself.

    Args:
        backbone: maps normalised images to features.
        num_classes: number of classes K.
        pixel_mean, pixel_std: one number per channel, in [0,1] pixel units; they are saved with the weights.
        input_size: side in pixels to which images are resized before the backbone; ``None`` keeps the native size.
        head: ``"linear"``, or ``"bn_linear"``: a linear layer after batch normalisation without affine parameters, for
            linear probing (paper, Section 4.4).

    Attributes:
        class_names: names of the classes in label order; None if they are not known. A training sets them, and the
            files of weights store them.

    Raises:
        ConfigError: there are fewer than 2 classes.
    """

    class_names: list[str] | None = None

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
        # As in the official code: nearly zero for fine-tuning, so that no class is preferred; 0.01 for linear probing,
        # as in MAE.
        nn.init.trunc_normal_(linear.weight, std=2e-5 if head == "linear" else 0.01)
        nn.init.zeros_(linear.bias)
        self.head = (
            linear
            if head == "linear"
            else nn.Sequential(nn.BatchNorm1d(backbone.num_features, affine=False, eps=1e-6), linear)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N,K] of images [N,C,H,W] in [0,1] pixel units."""
        return self.head(self.backbone(self.preprocess(images)))

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the layers of the backbone; the head is in none of them and has the full learning rate."""
        return self.backbone.layers()
