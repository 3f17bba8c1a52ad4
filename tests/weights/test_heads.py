"""Attention heads, which no tensor shows."""

import logging

import pytest
import torch
from weights_toolbox import CIFAR, OWN, TINY, autoencoder, classifier, refused

from dmaelab.losses import MSEMaskedPatches
from dmaelab.modeling import DenoisingMAE, MAEDecoder, ViT
from dmaelab.weights import load_classifier, load_pretrain, read_weights, save_weights
from dmaelab.weights.heads import choose_heads
from dmaelab.weights.layouts import rename_to_official


def test_heads_of_other_sizes(caplog):
    """ViT-H has 16 heads of 80; an unknown size of a multiple of 64 is taken by the custom, and said so.

    So are ViT-Ti and ViT-S: MAE-Lite's and MoCo v3's of these widths have 12 heads.
    """

    def encoder(*sizes):
        with torch.device("meta"):
            return {f"encoder.{name}": value for name, value in ViT(*sizes, pool=None).state_dict().items()}

    huge = encoder(1280, 32, 16, 28, 14)
    with caplog.at_level(logging.WARNING, "dmaelab"):
        assert choose_heads(read_weights(rename_to_official(huge)), "encoder", 1280, None) == 16
        assert not caplog.messages
        for width, depth, heads in ((128, 1, 2), (192, 12, 3), (384, 12, 6)):
            state = rename_to_official(encoder(width, depth, heads, 8, 4))
            assert choose_heads(read_weights(state), "encoder", width, None) == heads
            assert caplog.messages.pop().endswith(
                f"num_heads is assumed to be {heads} for width {width}: pass it if the model was trained with another"
                " number"
            )
            caplog.clear()
            assert choose_heads(read_weights(state), "encoder", width, 12 if width > 128 else 4) >= 4
            assert not caplog.messages
        assert choose_heads(read_weights(rename_to_official(huge)), "encoder", 1280, 20) == 20
        assert caplog.messages.pop().endswith("num_heads 20 is given, but the published model of this size has 16")
    assert "tell the number of attention heads" in refused(choose_heads, read_weights(huge), "encoder", 1280, None)


def test_our_names_without_facts_tell_no_heads_of_a_decoder():
    with torch.device("meta"):
        state = DenoisingMAE(ViT(24, 1, 3, 8, 4, pool=None), MAEDecoder, None, MSEMaskedPatches(), *OWN).state_dict()
    assert "pass decoder_num_heads" in refused(choose_heads, read_weights(state), "decoder", 512, None)
    assert choose_heads(read_weights(rename_to_official(state)), "decoder", 512, None) == 16


def test_heads_that_the_file_tells_otherwise_are_refused(tmp_path):
    save_weights(autoencoder(), tmp_path / "x.pth", "official")
    message = refused(load_pretrain, tmp_path / "x.pth", num_heads=4)
    assert message.endswith("x.pth: was trained with num_heads 3, but 4 is given: leave it out")
    assert "decoder_num_heads 2, but 4 is given" in refused(load_pretrain, tmp_path / "x.pth", decoder_num_heads=4)
    load_pretrain(tmp_path / "x.pth", num_heads=3, decoder_num_heads=2)
    save_weights(autoencoder(), tmp_path / "encoder.pth", "timm")
    with pytest.warns(UserWarning, match="encoder only"):  # whose new decoder is not the one that was left out
        model = load_pretrain(tmp_path / "encoder.pth", decoder_num_heads=4)
    assert model.decoder.blocks[0].attn.num_heads == 4
    save_weights(classifier(), tmp_path / "y.pth")
    assert "num_heads 3, but 4 is given" in refused(load_classifier, tmp_path / "y.pth", num_heads=4)


def test_heads_that_cannot_be():
    for options, message in [
        ({}, "neither the tensors nor the width 48 tell the number of attention heads: pass num_heads"),
        ({"num_heads": 5}, "num_heads 5 does not divide width 48"),
        ({"num_heads": 0}, "num_heads 0 does not divide width 48"),
        ({"num_heads": 3, "decoder_num_heads": 5}, "decoder_num_heads 5 does not divide width 32"),
    ]:
        assert message in refused(load_pretrain, TINY / "pretrain.pth", **options, **CIFAR)
