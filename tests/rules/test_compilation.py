"""Which parts of a network are compiled, without compiling any."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from dmaelab.losses import MSEAllPatches
from dmaelab.modeling import CifarResNet, Classifier, DenoisingMAE, MAEDecoder, ViT
from dmaelab.rules.compilation import compile_blocks, compiled_as


def vit(pool="gap"):
    return ViT(16, 3, 2, image_size=8, patch_size=4, pool=pool)


@pytest.mark.parametrize(
    ("make", "blocks"),
    [
        (lambda: Classifier(vit(), 10, [0.5] * 3, [0.5] * 3), 3),
        (
            lambda: DenoisingMAE(
                vit(None), lambda e: MAEDecoder(e, 16, 2, 2), None, MSEAllPatches(), [0.5] * 3, [0.5] * 3
            ),
            5,
        ),
        (lambda: CifarResNet(20), 9),
        (lambda: torchvision.models.resnet18(), 8),
        (lambda: torchvision.models.VisionTransformer(32, 16, 4, 2, 16, 32), 4),
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), 0),
    ],
    ids=["ViT", "autoencoder", "CIFAR ResNet", "torchvision ResNet", "torchvision ViT", "plain layers"],
)
def test_blocks_are_found_and_keep_their_names(make, blocks):
    module = make()
    names = list(module.state_dict())
    assert compiled_as(module) is False
    assert compile_blocks(module) == blocks
    assert compile_blocks(module) == blocks  # again changes nothing
    assert compiled_as(module) == ("blocks" if blocks else False)
    assert list(module.state_dict()) == names
    assert compiled_as(copy.deepcopy(module)) is False


def test_a_whole_module_is_told_from_its_blocks():
    module = vit()
    assert compiled_as(torch.compile(module)) is True
    module.compile()
    assert compiled_as(module) is True
