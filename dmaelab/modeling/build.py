"""The interface of backbones: normalised images in, features out."""

from torch import Tensor, nn

from dmaelab.registry import Registry, builder

BACKBONES = Registry("backbone")
build_backbone = builder(BACKBONES)
build_backbone.__module__ = __name__


class Backbone(nn.Module):
    """A network from normalised images to features; pools itself.

    Attributes:
        num_features: width D of the features.
        input_size: side in pixels that the network needs, or ``None`` where any will do.
    """

    num_features: int
    input_size: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N,D] of normalised images [N,C,H,W]."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(images)")

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters in groups from the input on, for layer-wise learning-rate decay; a final norm is in
        none.
        """
        raise NotImplementedError(f"{type(self).__name__} must define layers()")
