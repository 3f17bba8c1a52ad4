"""The vision transformer: encoder of the autoencoder and backbone of the classifier."""

import functools
import inspect
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dmaelab.modeling.base import PatchEncoder
from dmaelab.modeling.build import BACKBONES
from dmaelab.modeling.layers import NORM_EPS, Block, PatchEmbed, add_positions, init_transformer
from dmaelab.modeling.pos_embed import sincos_2d
from dmaelab.utils.errors import ConfigError


@BACKBONES.register("vit")
class ViT(PatchEncoder):
    """Vision transformer of any size (Dosovitskiy et al., 2021), in the layout of the MAE and DMAE weights.

    Args:
        width: token width D.
        depth: number of blocks.
        num_heads: attention heads.
        image_size: side of the input in pixels, divisible by ``patch_size``.
        patch_size: side of a patch in pixels.
        in_channels: channels of the input.
        mlp_ratio: hidden width of the MLPs divided by D.
        pool: ``"gap"`` averages the patch tokens and normalises the average (``fc_norm``); ``"cls"`` normalises the
            tokens (``norm``) and takes the class token; ``None`` is for the encoder of an autoencoder, which also ends
            with ``norm`` and has a frozen position embedding.
        drop_path: rate of stochastic depth at the last block; it rises linearly from 0 at the first one.
        attention: ``"auto"``, ``"sdpa"`` or ``"matmul"``, see :class:`dmaelab.modeling.attention.Attention`.

    Raises:
        ConfigError: ``image_size`` is not divisible by ``patch_size``, or ``pool`` is unknown.
    """

    new_in_classifier = ("fc_norm.",)
    dropped_in_classifier = ("norm.",)

    def __init__(
        self,
        width: int,
        depth: int,
        num_heads: int,
        image_size: int = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        mlp_ratio: float = 4.0,
        pool: Literal["gap", "cls"] | None = "gap",
        drop_path: float = 0.0,
        attention: Literal["auto", "sdpa", "matmul"] = "auto",
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ConfigError(f"image_size {image_size} is not divisible by patch_size {patch_size}")
        if pool not in ("gap", "cls", None):
            raise ConfigError(f"pool is '{pool}': choose 'gap', 'cls' or None")
        self.num_features, self.input_size = width, image_size
        self.patch_size, self.in_channels = patch_size, in_channels
        self.grid = image_size // patch_size
        self.pool = pool
        self.mlp_ratio, self.attention, self.num_heads = mlp_ratio, attention, num_heads

        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        # Fixed in pre-training, learned in fine-tuning, as in the official code.
        self.pos_embed = nn.Parameter(sincos_2d(width, self.grid), requires_grad=pool is not None)
        self.patch_embed = PatchEmbed(patch_size, in_channels, width)
        rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList([Block(width, num_heads, mlp_ratio, rate, attention) for rate in rates])
        if pool == "gap":
            self.fc_norm = nn.LayerNorm(width, eps=NORM_EPS)
        else:
            self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        init_transformer(self)
        nn.init.normal_(self.cls_token, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Return the patch tokens [N,L,D], positions added, of normalised images [N,C,H,W].

        Raises:
            ConfigError: the images do not have the size ``input_size``.
        """
        if images.shape[-2:] != (self.input_size, self.input_size):
            height, width = images.shape[-2:]
            raise ConfigError(
                f"this ViT takes {self.input_size}x{self.input_size} images and got {height}x{width}:"
                f" set image_size, or input_size={self.input_size} of the model to resize inside it"
            )
        return add_positions(self.patch_embed(images), self.pos_embed[:, 1:])

    def encode(self, tokens: Tensor) -> Tensor:
        """Return encoded tokens [N,1+K,D], the class token first, of K patch tokens [N,K,D].

        Unless ``pool`` is ``"gap"``, the final ``norm`` has been applied to them.
        """
        cls = (self.cls_token + self.pos_embed[:, :1]).to(tokens.dtype).expand(len(tokens), -1, -1)
        tokens = torch.cat([cls, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens if self.pool == "gap" else self.norm(tokens)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N,D] of normalised images [N,C,H,W]; ``ConfigError`` if ``pool`` is ``None``."""
        tokens = self.encode(self.embed(images))
        if self.pool is None:
            raise ConfigError(
                "this ViT has pool=None, the encoder of an autoencoder; a classifier needs pool='gap' or 'cls'"
            )
        return self.fc_norm(tokens[:, 1:].mean(dim=1)) if self.pool == "gap" else tokens[:, 0]

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of ``[embedding, block 0, ..., last block]``, for layer-wise learning-rate decay."""
        embedding = [self.cls_token, self.pos_embed, *self.patch_embed.parameters()]
        return [embedding, *(list(block.parameters()) for block in self.blocks)]


_SIZES = {  # width, depth, heads, patch size
    "tiny": (192, 12, 3, 16),
    "small": (384, 12, 6, 16),
    "base": (768, 12, 12, 16),
    "large": (1024, 24, 16, 16),
    "huge": (1280, 32, 16, 14),
}


def _register(size: str, width: int, depth: int, num_heads: int, patch_size: int) -> None:
    """Register a ViT of a usual size, such as ``vit_base``. It takes all arguments of :class:`ViT` by keyword."""
    sizes: dict[str, Any] = {"width": width, "depth": depth, "num_heads": num_heads, "patch_size": patch_size}

    def build(**options: Any) -> ViT:
        return ViT(**{**sizes, **options})

    build.__name__ = build.__qualname__ = f"vit_{size}"  # by these names the registry tells entries apart
    build.__doc__ = f"ViT-{size.capitalize()}: {width} wide, {depth} blocks, {num_heads} heads, patch {patch_size}."
    # The arguments that the check of configs knows: those of ViT, with the sizes as defaults.
    build.__signature__ = inspect.signature(functools.partial(ViT, **sizes))  # type: ignore[attr-defined]
    BACKBONES.register(f"vit_{size}")(build)


for _size, _shape in _SIZES.items():
    _register(_size, *_shape)
