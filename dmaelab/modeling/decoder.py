"""The small transformer that turns visible tokens into the pixels of all patches."""

from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.modeling.base import PatchDecoder, PatchEncoder
from dmaelab.modeling.layers import NORM_EPS, Block, add_positions, init_transformer
from dmaelab.modeling.patches import take
from dmaelab.modeling.pos_embed import sincos_2d


class MAEDecoder(PatchDecoder):
    """Asymmetric decoder of MAE and DMAE (He et al., 2022; paper, Section 3.2).

    Args:
        encoder: the encoder whose output it decodes; its width, number of prefix tokens, grid, patch size and channels
            are taken from it.
        width: token width of the decoder.
        depth: number of blocks.
        num_heads: attention heads.

    Attributes:
        is_new: see :class:`PatchDecoder`. It becomes False with a forward in training mode, or when all weights of the
            decoder are loaded.
    """

    def __init__(self, encoder: PatchEncoder, width: int = 512, depth: int = 8, num_heads: int = 16) -> None:
        super().__init__()
        self.embed = nn.Linear(encoder.num_features, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.num_prefix_tokens, self.num_heads = encoder.num_prefix_tokens, num_heads
        table = sincos_2d(width, encoder.grid, encoder.num_prefix_tokens)
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        self.blocks = nn.ModuleList(
            [Block(width, num_heads, encoder.mlp_ratio, attention=encoder.attention) for _ in range(depth)]
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pred = nn.Linear(width, encoder.patch_size**2 * encoder.in_channels)
        init_transformer(self)
        nn.init.normal_(self.mask_token, std=0.02)
        self.register_load_state_dict_post_hook(_loaded)

    def forward(self, latent: Tensor, ids_restore: Tensor) -> Tensor:
        """Return predicted patches [N,L,p*p*C].

        Args:
            latent: output [N,P+K,D] of the encoder: P prefix tokens, then the K visible patches in shuffled order.
            ids_restore: [N,L] int64, the indices that undo the shuffle.
        """
        self.is_new = self.is_new and not self.training
        first = self.num_prefix_tokens
        tokens = self.embed(latent)
        prefix, visible = tokens[:, :first], tokens[:, first:]
        hidden = self.mask_token.expand(len(tokens), ids_restore.shape[1] - visible.shape[1], -1).to(tokens.dtype)
        patches = take(torch.cat([visible, hidden], dim=1), ids_restore)
        tokens = add_positions(torch.cat([prefix, patches], dim=1), self.pos_embed)
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens))[:, first:]


def _loaded(decoder: MAEDecoder, keys: Any) -> None:
    decoder.is_new = decoder.is_new and bool(keys.missing_keys)
