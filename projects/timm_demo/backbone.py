"""The vision transformer of timm, with register tokens, as an encoder and as a backbone."""

from typing import Any, Literal

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from dmaelab.modeling import BACKBONES, PatchEncoder
from dmaelab.modeling.layers import add_positions
from dmaelab.utils.errors import ConfigError

_POOLS: dict[str | None, Any] = {None: "", "gap": "avg", "cls": "token"}  # our names and those of timm


@BACKBONES.register("timm_vit")
class TimmViT(PatchEncoder):
    """timm's ViT with a class token and register tokens (Darcet et al., 2024).

    Args:
        width: token width D.
        depth: number of blocks.
        num_heads: attention heads.
        image_size: side of the input in pixels, divisible by ``patch_size``.
        patch_size: side of a patch in pixels.
        in_channels: channels of the input.
        mlp_ratio: hidden width of the MLPs divided by D.
        registers: number of register tokens.
        pool: ``"gap"``, ``"cls"`` or ``None``, as for the backbone ``vit``.

    Raises:
        ConfigError: ``image_size`` is not divisible by ``patch_size``.
    """

    # How an encoder becomes the backbone of a classifier. Average pooling has fc_norm in place of norm. The position
    # table has a row for each prefix token; how many is found out from the grid.
    position_table = "net.pos_embed"
    new_in_classifier = ("net.fc_norm.",)
    dropped_in_classifier = ("net.norm.",)

    def __init__(
        self,
        width: int,
        depth: int,
        num_heads: int,
        image_size: int = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        mlp_ratio: float = 4.0,
        registers: int = 4,
        pool: Literal["gap", "cls"] | None = "gap",
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ConfigError(f"image_size {image_size} is not divisible by patch_size {patch_size}")
        self.net: Any = VisionTransformer(  # Any: timm's types do not know which parts this model has
            image_size, patch_size, in_channels, num_classes=0, global_pool=_POOLS[pool], embed_dim=width, depth=depth,
            num_heads=num_heads, mlp_ratio=mlp_ratio, reg_tokens=registers,
        )  # fmt: skip
        self.num_features, self.input_size, self.grid = width, image_size, image_size // patch_size
        self.patch_size, self.in_channels, self.pool = patch_size, in_channels, pool
        self.mlp_ratio, self.attention, self.num_heads = mlp_ratio, "sdpa", num_heads
        self.num_prefix_tokens = 1 + registers

    def embed(self, images: Tensor) -> Tensor:
        """Return the patch tokens [N,L,D], positions added, of normalised images [N,C,H,W].

        Raises:
            ConfigError: the images do not have the size ``input_size``.
        """
        if images.shape[-2:] != (self.input_size, self.input_size):
            raise ConfigError(f"timm_vit takes {self.input_size}x{self.input_size} images, got {list(images.shape)}")
        return add_positions(self.net.patch_embed(images), self.net.pos_embed[:, self.num_prefix_tokens :])

    def encode(self, tokens: Tensor) -> Tensor:
        """Return encoded tokens [N,P+K,D], class token and registers first, of K patch tokens [N,K,D].

        Unless ``pool`` is ``"gap"``, the final norm has been applied to them.
        """
        prefix = torch.cat([token for token in (self.net.cls_token, self.net.reg_token) if token is not None], dim=1)
        prefix = (prefix + self.net.pos_embed[:, : self.num_prefix_tokens]).to(tokens.dtype)
        tokens = torch.cat([prefix.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.net.norm(self.net.blocks(tokens))  # with average pooling timm's norm is the identity

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N,D] of normalised images [N,C,H,W]; ``ConfigError`` if ``pool`` is ``None``."""
        if self.pool is None:
            raise ConfigError("this timm_vit has pool=None, the encoder of an autoencoder: set pool='gap' or 'cls'")
        return self.net.forward_head(self.encode(self.embed(images)))

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of ``[embedding, block 0, ..., last block]``."""
        later = ("blocks.", "norm.", "fc_norm.")
        embedding = [value for name, value in self.net.named_parameters() if not name.startswith(later)]
        return [embedding, *(list(block.parameters()) for block in self.net.blocks)]
