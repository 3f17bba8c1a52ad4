"""What the package says about a model."""

import pytest
from torch import nn
from weights_toolbox import OWN, autoencoder, classifier

from dmaelab.modeling import CifarResNet, Classifier, PatchDecoder
from dmaelab.weights.facts import describe, encoder_of, facts_of


def resnet():
    return Classifier(CifarResNet(8), 4, *OWN)


def with_decoder(decoder):
    model = autoencoder()
    model.decoder = decoder
    return model


def test_facts_are_those_that_a_model_has():
    recipe = {"num_heads": 3, "mask_ratio": 0.5, "norm_pix": False}
    assert facts_of(autoencoder()) == {**recipe, "decoder_num_heads": 2}
    assert facts_of(with_decoder(PatchDecoder())) == recipe
    assert facts_of(classifier()) == {"num_heads": 3}
    assert facts_of(resnet()) == facts_of(nn.Linear(2, 2)) == {}


def test_the_encoder_is_a_network_on_patches():
    model, probe = autoencoder(), classifier()
    assert (encoder_of(model), encoder_of(probe)) == (model.encoder, probe.backbone)
    assert encoder_of(resnet()) is encoder_of(nn.Linear(2, 2)) is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            autoencoder,
            "autoencoder: ViT 24 wide, 2 blocks, 3 heads; 3x8x8 images in patches of 4x4; decoder 16 wide, 1 blocks, 2"
            " heads",
        ),
        (
            lambda: with_decoder(PatchDecoder()),
            "autoencoder: ViT 24 wide, 2 blocks, 3 heads; 3x8x8 images in patches of 4x4; decoder PatchDecoder",
        ),
        (
            lambda: classifier("cls", "bn_linear"),
            "classifier: ViT 24 wide, 2 blocks, 3 heads; 3x8x8 images in patches of 4x4; pool cls, 5 classes, batch"
            " norm before the head",
        ),
        (resnet, "classifier: CifarResNet 64 wide; 4 classes"),
        (lambda: nn.Linear(2, 2), "Linear"),
    ],
)
def test_a_model_in_one_line(make, text):
    assert describe(make()) == text
