import dataclasses

import pytest
import torch

from dmaelab.corruptions import Gaussian
from dmaelab.data import Batch
from dmaelab.losses import MSEAllPatches, MSEMaskedPatches
from dmaelab.modeling import CifarResNet, DenoisingMAE, MAEDecoder, ViT
from dmaelab.modeling.patches import normalise_patches, patchify
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]
GAUSSIAN = Gaussian(0.25)


def autoencoder(corruption=GAUSSIAN, mean=MEAN, std=STD, image_size=8, patch_size=2, loss=None, **options):
    torch.manual_seed(0)
    encoder = ViT(24, 1, 3, image_size=image_size, patch_size=patch_size, pool=None)
    return DenoisingMAE(
        encoder, lambda e: MAEDecoder(e, 16, 1, 2), corruption, loss or MSEAllPatches(), mean, std, **options
    )


def test_forward_takes_noise_and_mask_from_the_address(batch):
    """What forward draws is what reconstruct is given here, one address for each."""
    model, one = autoencoder(), batch()
    noise = GAUSSIAN(one.images, one.draw.child("corruption")).images - one.images
    result = model.reconstruct(one.images, noise=noise, mask_noise=one.draw.child("mask").uniform((6, 16)))
    assert result.mask.sum() == 6 * 12
    losses = model(batch())
    assert list(losses) == ["loss"]
    torch.testing.assert_close(losses["loss"], result.loss("mse_all_patches", norm_pix=True))
    assert torch.equal(losses["loss"], model.reconstruct(one.images, draw=batch().draw).loss("mse_all_patches"))
    assert torch.equal(losses["loss"], model(batch())["loss"])
    assert losses["loss"] != model(batch(key=1))["loss"]


def test_everything_but_the_tables_learns(batch):
    model = autoencoder()
    model(batch())["loss"].backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == ["encoder.pos_embed", "decoder.pos_embed"]


def test_noise_comes_before_normalisation():
    """Grey images: each channel of what the encoder gets spreads by sigma / its std."""
    model, seen = autoencoder(image_size=32), []
    model.encoder.patch_embed.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    result = model.reconstruct(torch.full((64, 3, 32, 32), 0.5))
    for channel in range(3):
        values = seen[0][:, channel]
        assert abs(values.std() * STD[channel] / 0.25 - 1) < 0.01
        assert abs(values.mean() - (0.5 - MEAN[channel]) / STD[channel]) < 0.02
    assert result.noisy.min() < 0
    assert result.noisy.max() > 1


def test_noise_has_the_dimension_of_the_native_image():
    model = autoencoder(image_size=16, patch_size=4, input_size=16)
    images, noise = Draw(0, "data").uniform((2, 3, 8, 8)), Draw(0, "train").normal((2, 3, 8, 8))
    result = model.reconstruct(images, noise=noise)
    assert result.noisy.shape == (2, 3, 16, 16)
    torch.testing.assert_close(
        result.noisy, model.preprocess.resize(images) + model.preprocess.resize(noise), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(result.target, patchify(model.preprocess(images), 4))


def test_the_target_is_the_clean_image(batch):
    model, images = autoencoder(), batch().images
    quiet, loud = (model.reconstruct(images, noise=scale * torch.ones_like(images)) for scale in (0.0, 5.0))
    assert torch.equal(quiet.target, loud.target)
    torch.testing.assert_close(quiet.target, patchify(model.preprocess(images), 2))
    assert not torch.equal(quiet.pred, loud.pred)


def test_hidden_patches_do_not_reach_the_encoder(batch):
    model, images = autoencoder(), batch().images
    scores = Draw(0, "train").uniform((6, 16))
    first = model.reconstruct(images, noise=torch.zeros_like(images), mask_noise=scores)
    hidden = first.mask.view(6, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    second = model.reconstruct(images, noise=hidden * 9.0, mask_noise=scores)
    assert torch.equal(first.pred, second.pred)
    third = model.reconstruct(images, noise=(1 - hidden) * 9.0, mask_noise=scores)
    assert not torch.allclose(first.pred, third.pred)


def test_pixel_statistics_change_the_normalised_target(batch):
    """They differ by channel, which normalising a whole patch does not undo."""
    images = batch().images
    targets = [normalise_patches(autoencoder(std=std).reconstruct(images).target) for std in (STD, [0.1, 0.2, 0.4])]
    assert (targets[0] - targets[1]).abs().max() > 0.1


def test_brightness_of_a_whole_patch_does_not_change_the_normalised_target(batch):
    result = autoencoder().reconstruct(batch().images)
    changed = dataclasses.replace(result, target=result.target * 2 + 1)
    torch.testing.assert_close(changed.loss(norm_pix=True), result.loss(norm_pix=True), atol=1e-4, rtol=0)
    assert abs(changed.loss(norm_pix=False) - result.loss(norm_pix=False)) > 0.1


@pytest.mark.parametrize("norm_pix", [True, False])
def test_a_perfect_prediction_gives_back_the_pixels(batch, norm_pix):
    model, images = autoencoder(norm_pix=norm_pix), batch().images
    result = model.reconstruct(images)
    perfect = normalise_patches(result.target) if norm_pix else result.target
    torch.testing.assert_close(model.pixels(dataclasses.replace(result, pred=perfect)), images, atol=1e-5, rtol=0)


def test_reconstruct_repeats_itself_and_takes_a_mask_ratio(batch):
    model, images = autoencoder(), batch().images
    first, second = model.reconstruct(images), model.reconstruct(images)
    assert torch.equal(first.pred, second.pred)
    assert not first.pred.requires_grad
    assert first.latent.shape == (6, 5, 24)
    assert model.reconstruct(images, mask_ratio=0.5).latent.shape == (6, 9, 24)
    assert model.reconstruct(images, mask_ratio=0.0).mask.sum() == 0


def test_evaluate_measures_pixels_where_it_can(batch):
    plain = autoencoder(norm_pix=False)
    metrics = plain.evaluate(batch())
    result = plain.reconstruct(
        batch().images,
        noise=GAUSSIAN(batch().images, batch().draw.child("corruption")).images - batch().images,
        mask_noise=batch().draw.child("mask").uniform((6, 16)),
    )
    torch.testing.assert_close(metrics["pixel_mse"], (plain.pixels(result) - batch().images).square().mean())
    torch.testing.assert_close(metrics["loss"], plain(batch())["loss"])
    assert not metrics["loss"].requires_grad
    assert set(autoencoder(norm_pix=True).evaluate(batch())) == {"loss"}


def test_without_corruption_it_is_a_masked_autoencoder(batch):
    model = autoencoder(corruption=None, loss=MSEMaskedPatches())
    images = batch().images
    result = model.reconstruct(images)
    assert torch.equal(result.noisy, images)
    zero = model.reconstruct(images, noise=torch.zeros_like(images))
    assert torch.equal(result.pred, zero.pred)
    scores = batch().draw.child("mask").uniform((6, 16))
    expected = model.reconstruct(images, mask_noise=scores).loss("mse_masked_patches")
    torch.testing.assert_close(model(batch())["loss"], expected)


def test_a_few_steps_learn():
    """On one fixed image the error falls: the gradient points somewhere useful."""
    model = autoencoder(norm_pix=False)
    images = Draw(0, "data").uniform((1, 3, 8, 8)).expand(16, -1, -1, -1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(40):
        loss = model(Batch(images, torch.zeros(16).long(), torch.arange(16), Draw(0, "train", step, 0), 0.0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_export_and_layers():
    model = autoencoder()
    assert model.export() is model
    assert [list(map(id, layer)) for layer in model.layers()] == [list(map(id, model.parameters()))]


@pytest.mark.parametrize(
    "encoder", [CifarResNet(8), ViT(24, 1, 3, image_size=8, patch_size=4, pool="gap")], ids=["resnet", "pooling"]
)
def test_other_encoders_are_refused_by_name(encoder):
    with pytest.raises(ConfigError, match=f"{type(encoder).__name__} cannot be the encoder of a DenoisingMAE"):
        DenoisingMAE(encoder, MAEDecoder, GAUSSIAN, MSEAllPatches(), MEAN, STD)


class WithRegister(ViT):
    """A ViT with a second prefix token, the class token's copy."""

    num_prefix_tokens = 2

    def encode(self, tokens):
        encoded = super().encode(tokens)
        return torch.cat([encoded[:, :1], encoded], dim=1)


def test_an_encoder_with_two_prefix_tokens(batch):
    torch.manual_seed(0)
    encoder = WithRegister(24, 1, 3, image_size=8, patch_size=2, pool=None)
    model = DenoisingMAE(encoder, lambda e: MAEDecoder(e, 16, 1, 2), GAUSSIAN, MSEAllPatches(), MEAN, STD)
    assert model.decoder.pos_embed.shape == (1, 18, 16)
    result = model.reconstruct(batch().images)
    assert result.latent.shape == (6, 2 + 4, 24)
    assert result.pred.shape == result.target.shape == (6, 16, 12)
    assert model(batch())["loss"].isfinite()


@pytest.mark.parametrize("ratio", [1.0, -0.1, 1.5])
def test_bad_mask_ratio(ratio):
    with pytest.raises(ConfigError, match=r"mask_ratio is .*: give the hidden share"):
        autoencoder(mask_ratio=ratio)
