"""The small residual network for 32x32 images that papers on randomized smoothing use."""

import torch.nn.functional as F
from torch import Tensor, nn

from dmaelab.modeling.base import Backbone
from dmaelab.modeling.build import BACKBONES
from dmaelab.utils.errors import ConfigError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    If the shapes differ, the shortcut subsamples the image and pads its channels with zeros.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.extra = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return maps [N,channels,H/stride,W/stride] of maps [N,in_channels,H,W]."""
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        x = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x + shortcut)


@BACKBONES.register("resnet_cifar")
class CifarResNet(Backbone):
    """ResNet for small images (He et al., 2016, Section 4.2): depth 20, 32, 44, 56 or 110.

    Args:
        depth: number of weighted layers, 6n + 2.
        in_channels: channels of the input.
        width: channels of the first of the three stages; each further stage doubles the number.

    Raises:
        ConfigError: ``depth`` is not 6n + 2.
    """

    def __init__(self, depth: int = 20, in_channels: int = 3, width: int = 16) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ConfigError(f"resnet_cifar: depth {depth} is not 6n + 2 (8, 14, 20, 32, 44, 56, 110)")
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(3):
            for index in range((depth - 2) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(BasicBlock(channels, width * 2**stage, stride))
                channels = width * 2**stage
        self.blocks = nn.ModuleList(blocks)
        self.num_features = channels
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, 4*width] of normalised images [N,C,H,W] of any size."""
        x = F.relu(self.bn1(self.conv1(images)))
        for block in self.blocks:
            x = block(x)
        return x.mean(dim=(2, 3))

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of ``[stem, block 0, ..., last block]``."""
        stem = [*self.conv1.parameters(), *self.bn1.parameters()]
        return [stem, *(list(block.parameters()) for block in self.blocks)]
