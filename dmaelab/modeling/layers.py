"""The pieces of a vision transformer, named as in the public weights."""

import torch
from torch import Tensor, nn

from dmaelab.modeling.attention import Attention
from dmaelab.rules.residual_stream import residual_dtype

NORM_EPS = 1e-6


class PatchEmbed(nn.Module):
    """Cut an image into patches and project each to a token.

    Args:
        patch_size: side of a patch, in pixels.
        in_channels: channels C of the image.
        width: token width D.
    """

    def __init__(self, patch_size: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens [N,L,D], row by row, of images [N,C,H,W]."""
        return self.proj(images).flatten(2).transpose(1, 2)


class MLP(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [N,L,D] of tokens [N,L,D]."""
        return self.fc2(self.act(self.fc1(tokens)))


class DropPath(nn.Module):
    """Drop the whole residual branch of some images in training (stochastic depth).

    Args:
        rate: probability of dropping; survivors are divided by ``1 - rate``.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch [N,...] with some rows zero; unchanged in evaluation or at rate 0."""
        if self.rate == 0 or not self.training:
            return branch
        keep = torch.full((len(branch),) + (1,) * (branch.dim() - 1), 1 - self.rate, device=branch.device)
        return branch * (torch.bernoulli(keep) / (1 - self.rate)).to(branch.dtype)


class Block(nn.Module):
    """Pre-norm transformer block: ``x += attn(norm1(x)); x += mlp(norm2(x))``."""

    def __init__(
        self, width: int, num_heads: int, mlp_ratio: float, drop_path: float = 0.0, attention: str = "auto"
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, num_heads, attention)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, round(width * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [N,L,D] of tokens [N,L,D]."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


def add_positions(tokens: Tensor, positions: Tensor) -> Tensor:
    """Return ``tokens + positions`` [N,L,D].

    The sum has the dtype that :func:`residual_dtype` chooses. The tokens keep this dtype in all following blocks.
    """
    return tokens + positions.to(residual_dtype(tokens.dtype, positions.dtype))


def init_transformer(module: nn.Module) -> None:
    """Initialise as MAE does: Xavier-uniform weights and zero biases in linear layers.

    The weights of the patch projection are treated as those of a linear layer; its bias keeps PyTorch's default for
    convolutions. Layer norms start with weight 1 and bias 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, PatchEmbed):
            nn.init.xavier_uniform_(layer.proj.weight.view(layer.proj.weight.shape[0], -1))
