"""The backbones of this package, one file per family."""

from dmaelab.modeling.backbones.resnet import CifarResNet
from dmaelab.modeling.backbones.vit import ViT

__all__ = ["CifarResNet", "ViT"]
