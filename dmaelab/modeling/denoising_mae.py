"""The denoising masked autoencoder (paper, Section 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from dmaelab.corruptions import Corruption
from dmaelab.interfaces import Batch, Trainable
from dmaelab.losses import LOSSES, ReconstructionLoss
from dmaelab.modeling.base import Backbone, PatchDecoder, PatchEncoder
from dmaelab.modeling.patches import normalise_patches, patchify, random_masking, take, unpatchify
from dmaelab.modeling.preprocess import Preprocess
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.utils.random import Draw


@dataclass(frozen=True)
class Reconstruction:
    """What :meth:`DenoisingMAE.reconstruct` returns.

    Attributes:
        latent: encoder output [N,P+K,D], the P prefix tokens first, after the final norm.
        pred: predicted patches [N,L,p*p*C], in the units of normalised images; with ``norm_pix`` also normalised per
            patch.
        mask: [N,L] float32, 1 where a patch was hidden.
        ids_restore: [N,L] int64, the indices that undo the shuffle.
        target: clean patches [N,L,p*p*C], in the units of normalised images.
        noisy: the noisy images [N,C,S,S] that the encoder saw, in [0,1] pixel units, unclamped, at the model's size.
    """

    latent: Tensor
    pred: Tensor
    mask: Tensor
    ids_restore: Tensor
    target: Tensor
    noisy: Tensor

    def loss(self, name: str = "mse_all_patches", norm_pix: bool = True) -> Tensor:
        """Return the value of a registered reconstruction loss; ``norm_pix`` normalises each target patch."""
        return self.compare(LOSSES.build(name), norm_pix)

    def compare(self, loss: ReconstructionLoss, norm_pix: bool) -> Tensor:
        """Return the value of a reconstruction loss; ``norm_pix`` normalises each target patch."""
        return loss(self.pred, normalise_patches(self.target) if norm_pix else self.target, self.mask)


class DenoisingMAE(Trainable):
    """The denoising masked autoencoder (paper, Section 3.2).

    It adds noise to an image, hides some patches, encodes the visible ones, decodes all patches, and compares them with
    the clean image.

    Args:
        encoder: a :class:`PatchEncoder` with pool ``None``, such as a ViT.
        decoder: function that returns the decoder for an encoder, such as :class:`MAEDecoder`.
        corruption: noise in [0,1] pixel space, added before resizing and normalisation; ``None`` for MAE.
        loss: a reconstruction loss.
        pixel_mean, pixel_std: one number per channel, in [0,1] pixel units.
        mask_ratio: share of the patches that are hidden, in [0, 1).
        norm_pix: whether the targets are normalised per patch.
        input_size: side in pixels to which images are resized inside the model, after the noise; ``None`` keeps the
            native size.

    Raises:
        ConfigError: the encoder is not a :class:`PatchEncoder` with pool ``None``, or the mask ratio is outside [0, 1)
            or leaves no patch visible.
    """

    def __init__(
        self,
        encoder: Backbone,
        decoder: Callable[[PatchEncoder], PatchDecoder],
        corruption: Corruption | None,
        loss: ReconstructionLoss,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        mask_ratio: float = 0.75,
        norm_pix: bool = True,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, PatchEncoder) or encoder.pool is not None:
            name = type(encoder).__name__
            raise ConfigError(
                f"{name} cannot be the encoder of a DenoisingMAE: it needs a PatchEncoder with pool=None, like 'vit'"
            )
        self.encoder = encoder
        self._check_ratio(mask_ratio)
        self.preprocess = Preprocess(pixel_mean, pixel_std, input_size)
        self.decoder = decoder(encoder)
        self.corruption, self.loss = corruption, loss
        self.mask_ratio, self.norm_pix = mask_ratio, norm_pix

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``{"loss"}`` of a batch; noise and mask come from its draw."""
        return {"loss": self._reconstruct(batch).compare(self.loss, self.norm_pix)}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Return batch means: ``{"loss"}``, and without ``norm_pix`` also ``{"pixel_mse"}`` in [0,1] pixel units."""
        result = self._reconstruct(batch)
        metrics = {"loss": result.compare(self.loss, self.norm_pix)}
        if not self.norm_pix:
            error = self.pixels(result) - self.preprocess.resize(batch.images)
            metrics["pixel_mse"] = error.square().mean()
        return metrics

    @torch.no_grad()
    def reconstruct(
        self,
        images: Tensor,
        *,
        noise: Tensor | None = None,
        mask_noise: Tensor | None = None,
        mask_ratio: float | None = None,
        draw: Draw | None = None,
    ) -> Reconstruction:
        """Reconstruct clean images [N,C,H,W] in [0,1] from their noisy, masked versions.

        Args:
            images: clean images [N,C,H,W] in [0,1].
            noise: the noise that is added, [N,C,H,W] in [0,1] pixel units, already scaled by sigma; None draws it.
            mask_noise: scores [N,L]; the patches with the smallest scores stay visible. None draws them.
            mask_ratio: share of the patches that are hidden; None takes the model's.
            draw: where noise and scores are drawn from, as in training. None takes one fixed address, so the same call
                always gives the same result.

        Raises:
            UserError: the decoder is not trained, because the loaded weights were those of an encoder alone.
            ConfigError: the mask ratio is outside [0, 1) or leaves no patch visible.
        """
        if self.decoder.is_new:
            raise UserError(
                "the decoder is new: the weights held an encoder only, so train the decoder before you reconstruct"
                " images"
            )
        mask_ratio = self.mask_ratio if mask_ratio is None else mask_ratio
        self._check_ratio(mask_ratio)
        draw = Draw(0, "call", "reconstruct", device=images.device) if draw is None else draw
        corrupted = self._corrupt(images, draw) if noise is None else images + noise
        scores = self._scores(images, draw) if mask_noise is None else mask_noise
        return self._run(images, corrupted, scores, mask_ratio)

    def pixels(self, result: Reconstruction) -> Tensor:
        """Return the reconstructed images [N,C,S,S] in [0,1] pixel units, unclamped.

        With ``norm_pix`` the predictions are normalised patches. They get the mean and variance of the clean patches
        back, which shows what was learned, but needs the clean image.
        """
        pred = result.pred.float()
        if self.norm_pix:
            variance = result.target.var(dim=-1, keepdim=True)
            pred = pred * (variance + 1e-6).sqrt() + result.target.mean(dim=-1, keepdim=True)
        return self.preprocess.denormalise(unpatchify(pred, self.encoder.patch_size, self.encoder.in_channels))

    def export(self) -> Self:
        """Return the module whose weights a finished run keeps: the autoencoder itself."""
        return self

    def layers(self) -> list[list[nn.Parameter]]:
        """Return all parameters as one layer, because pre-training has no layer-wise decay."""
        return [list(self.parameters())]

    def _check_ratio(self, mask_ratio: float) -> None:
        if not 0 <= mask_ratio < 1:
            raise ConfigError(f"mask_ratio is {mask_ratio}: give the hidden share of the patches, in [0, 1)")
        patches = self.encoder.grid**2
        if int(patches * (1 - mask_ratio)) == 0:
            raise ConfigError(f"mask_ratio {mask_ratio} leaves none of the {patches} patches visible")

    def _run(self, clean: Tensor, corrupted: Tensor, scores: Tensor, mask_ratio: float) -> Reconstruction:
        tokens = self.encoder.embed(self.preprocess(corrupted))
        kept, ids_restore, mask = random_masking(scores, mask_ratio)
        latent = self.encoder.encode(take(tokens, kept))
        pred = self.decoder(latent, ids_restore)
        target = patchify(self.preprocess(clean), self.encoder.patch_size)
        return Reconstruction(latent, pred, mask, ids_restore, target, self.preprocess.resize(corrupted))

    def _reconstruct(self, batch: Batch) -> Reconstruction:
        corrupted, scores = self._corrupt(batch.images, batch.draw), self._scores(batch.images, batch.draw)
        return self._run(batch.images, corrupted, scores, self.mask_ratio)

    def _corrupt(self, images: Tensor, draw: Draw) -> Tensor:
        return images if self.corruption is None else self.corruption(images, draw.child("corruption")).images

    def _scores(self, images: Tensor, draw: Draw) -> Tensor:
        return draw.child("mask").uniform((len(images), self.encoder.grid**2))
