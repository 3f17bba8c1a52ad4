"""Preprocessing inside a model: resize [0,1] images, then normalise them for the backbone."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmaelab.utils.errors import ConfigError


class Preprocess(nn.Module):
    """Resize and normalise [0,1] images, noisy or clean, as the last step before a backbone.

    Args:
        pixel_mean: one number per channel, in [0,1] pixel units.
        pixel_std: one number per channel, > 0.
        input_size: side in pixels to resize to; ``None`` keeps the native size.

    The statistics are buffers. So they are saved with the weights, and a file cannot be used with the wrong ones.

    Raises:
        ConfigError: mean and standard deviation have different lengths, or a standard deviation is not positive.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, pixel_mean: Sequence[float], pixel_std: Sequence[float], input_size: int | None = None) -> None:
        super().__init__()
        if len(pixel_mean) != len(pixel_std) or not all(std > 0 for std in pixel_std):
            raise ConfigError(
                f"pixel_mean {list(pixel_mean)} and pixel_std {list(pixel_std)} need one number per channel,"
                " pixel_std > 0"
            )
        self.input_size = input_size
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(pixel_std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised images [N,C,input_size,input_size] of [0,1] images [N,C,H,W].

        Raises:
            ConfigError: the images have another number of channels.
        """
        channels = self.pixel_mean.shape[0]
        if images.dim() != 4 or images.shape[1] != channels:
            raise ConfigError(
                f"the model takes images [N,{channels},H,W] (one pixel_mean per channel), got {list(images.shape)}"
            )
        return (self.resize(images) - self.pixel_mean) / self.pixel_std

    def resize(self, images: Tensor) -> Tensor:
        """Return images [N,C,input_size,input_size] of images [N,C,H,W], in the same units.

        The interpolation is bicubic with a = -0.75 and without antialiasing, as the official code resized CIFAR images
        (tensors, torchvision < 0.17).
        """
        if self.input_size is None or tuple(images.shape[-2:]) == (self.input_size, self.input_size):
            return images
        size = (self.input_size, self.input_size)
        return F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=False)

    def denormalise(self, images: Tensor) -> Tensor:
        """Return [0,1] images of normalised ones."""
        return images * self.pixel_std + self.pixel_mean
