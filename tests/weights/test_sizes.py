"""Sizes of models, read off their tensors."""

import pytest
import torch
from weights_toolbox import OWN

from dmaelab.losses import MSEMaskedPatches
from dmaelab.modeling import DenoisingMAE, MAEDecoder, ViT
from dmaelab.weights import read_weights
from dmaelab.weights.heads import choose_heads
from dmaelab.weights.layouts import rename_to_official
from dmaelab.weights.sizes import decoder_sizes, vit_sizes


@pytest.mark.parametrize("size", ["vit_base", "vit_large"])
def test_released_sizes_are_read_off_the_tensors(size):
    width, depth, heads = {"vit_base": (768, 12, 12), "vit_large": (1024, 24, 16)}[size]
    with torch.device("meta"):
        state = rename_to_official(
            DenoisingMAE(ViT(width, depth, heads, pool=None), MAEDecoder, None, MSEMaskedPatches(), *OWN).state_dict()
        )
    weights = read_weights(state)
    assert vit_sizes(weights, "encoder") == {
        "width": width, "depth": depth, "image_size": 224, "patch_size": 16, "in_channels": 3, "mlp_ratio": 4.0,
    }  # fmt: skip
    assert decoder_sizes(weights) == {"width": 512, "depth": 8}
    assert choose_heads(weights, "encoder", width, None) == heads
    assert choose_heads(weights, "decoder", 512, None) == 16
