"""Small models and what several tests of weights share."""

from pathlib import Path

import pytest
import torch

from dmaelab.corruptions import Gaussian
from dmaelab.losses import MSEMaskedPatches
from dmaelab.modeling import Classifier, DenoisingMAE, MAEDecoder, ViT
from dmaelab.utils.errors import UserError

TINY = Path(__file__).parents[1] / "data" / "dmae_tiny"
HEADS = {"num_heads": 3, "decoder_num_heads": 4}
CIFAR = {"pixel_mean": "cifar10"}
OWN = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def refused(action, *arguments, **options):
    """Return the one line with which something is refused."""
    with pytest.raises(UserError) as error:
        action(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def vit(pool, heads=3, **options):
    torch.manual_seed(0)
    return ViT(24, 2, heads, **{"image_size": 8, "patch_size": 4, "mlp_ratio": 2.0, "pool": pool, **options})


def autoencoder(**options):
    recipe = {"mask_ratio": 0.5, "norm_pix": False, "input_size": 8, **options}
    return DenoisingMAE(
        vit(None), lambda e: MAEDecoder(e, 16, 1, 2), Gaussian(0.25), MSEMaskedPatches(), *OWN, **recipe
    )


def classifier(pool="gap", head="linear"):
    model = Classifier(vit(pool), 5, *OWN, input_size=8, head=head).eval()
    torch.nn.init.normal_(model.head.weight if head == "linear" else model.head[1].weight)
    if head == "bn_linear":
        model.head[0].running_mean.normal_()
        model.head[0].running_var.uniform_(0.5, 2.0)
        model.head[0].num_batches_tracked += 7
    return model
