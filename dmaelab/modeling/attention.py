"""Multi-head self-attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmaelab.rules.attention import attention_rule
from dmaelab.utils.errors import ConfigError

KERNELS = ("sdpa", "matmul")


class Attention(nn.Module):
    """Self-attention with a fused qkv projection, in the layout of the public ViT, MAE and DMAE weights.

    Args:
        width: token width D, divisible by ``num_heads``.
        num_heads: number of heads.
        attention: the kernel: ``"sdpa"`` (``scaled_dot_product_attention``), ``"matmul"`` (plain matrix products), or
            ``"auto"``. Then :func:`dmaelab.rules.attention.attention_rule` chooses in each forward, by the device and
            by whether gradients are recorded.

    Raises:
        ConfigError: ``width`` is not divisible by ``num_heads``, or the kernel is unknown.
    """

    def __init__(self, width: int, num_heads: int, attention: str = "auto") -> None:
        super().__init__()
        if width % num_heads:
            raise ConfigError(f"width {width} is not divisible by num_heads {num_heads}")
        if attention not in (*KERNELS, "auto"):
            raise ConfigError(f"attention is '{attention}': choose 'sdpa', 'matmul' or 'auto'")
        self.num_heads = num_heads
        self.attention = attention
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return attended tokens [N,L,D] of tokens [N,L,D]."""
        count, length, width = tokens.shape
        qkv = self.qkv(tokens).view(count, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [N, heads, L, D/heads]
        kernel = (
            attention_rule(tokens.device.type, torch.is_grad_enabled()) if self.attention == "auto" else self.attention
        )
        if kernel == "sdpa":
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
            mixed = scores.softmax(dim=-1) @ value
        return self.proj(mixed.transpose(1, 2).reshape(count, length, width))
