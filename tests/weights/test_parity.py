"""Outputs of the official implementation, on its own weights, noise and masks."""

import pytest
import torch

from dmaelab.corruptions import Gaussian
from dmaelab.losses import MSEAllPatches
from dmaelab.modeling import Classifier, DenoisingMAE, MAEDecoder, ViT
from dmaelab.utils.random import Draw

KERNELS = ["matmul", "sdpa"]


def vit(pool, attention):
    return ViT(48, 2, 3, image_size=32, patch_size=4, pool=pool, attention=attention)


def renamed(name):
    """Return our name of a tensor of the official autoencoder."""
    if name.startswith("decoder_"):
        return "decoder." + name.removeprefix("decoder_")
    return f"decoder.{name}" if name == "mask_token" else f"encoder.{name}"


def load(model, state):
    """Load weights that miss nothing but the pixel statistics, which the official files do not hold."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["preprocess.pixel_mean", "preprocess.pixel_std"]
    assert not unexpected
    return model.eval()


@pytest.fixture(scope="module")
def io(reference):
    return reference("pretrain_io.pth")


@pytest.fixture(params=KERNELS)
def autoencoder(request, reference, io):
    config = io["config"]
    model = DenoisingMAE(
        vit(None, request.param),
        lambda encoder: MAEDecoder(encoder, 32, 1, 4),
        Gaussian(config["sigma"]),
        MSEAllPatches(),
        config["pixel_mean"],
        config["pixel_std"],
        mask_ratio=config["mask_ratio"],
    )
    return load(model, {renamed(name): value for name, value in reference("pretrain.pth").items()})


def test_position_tables(reference):
    encoder = vit(None, "auto")
    torch.testing.assert_close(encoder.pos_embed.detach(), reference("pretrain.pth")["pos_embed"], atol=1e-6, rtol=0)
    table = MAEDecoder(encoder, 32, 1, 4).pos_embed.detach()
    torch.testing.assert_close(table, reference("pretrain.pth")["decoder_pos_embed"], atol=1e-6, rtol=0)


def test_reconstruction(autoencoder, io):
    result = autoencoder.reconstruct(io["images"], noise=io["noise"], mask_noise=io["mask_u"])
    assert torch.equal(result.mask, io["mask"])
    assert torch.equal(result.ids_restore, io["ids_restore"])
    torch.testing.assert_close(result.latent, io["latent"], atol=1e-5, rtol=0)
    torch.testing.assert_close(result.pred, io["pred"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("patches", ["all", "masked"])
@pytest.mark.parametrize("norm_pix", [False, True])
def test_losses(autoencoder, io, patches, norm_pix):
    result = autoencoder.reconstruct(io["images"], noise=io["noise"], mask_noise=io["mask_u"])
    expected = io[f"loss_{patches}_{'normpix' if norm_pix else 'pixel'}"]
    torch.testing.assert_close(result.loss(f"mse_{patches}_patches", norm_pix), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", KERNELS)
@pytest.mark.parametrize("pool", ["gap", "cls"])
def test_classifiers(reference, pool, attention):
    io = reference("classifier_io.pth")
    state = reference(f"classifier_{pool}.pth")
    model = Classifier(vit(pool, attention), 10, io["pixel_mean"], io["pixel_std"])
    load(model, {name if name.startswith("head.") else f"backbone.{name}": value for name, value in state.items()})
    with torch.no_grad():
        torch.testing.assert_close(model(io["images"]), io[f"logits_{pool}"], atol=1e-5, rtol=0)


def test_the_comparison_sees_a_difference(autoencoder, io):
    noise = io["noise"] + 1e-3 * Draw(0, "data").normal(io["noise"].shape)
    result = autoencoder.reconstruct(io["images"], noise=noise, mask_noise=io["mask_u"])
    assert (result.pred - io["pred"]).abs().max() > 1e-5
