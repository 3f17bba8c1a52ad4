"""Position embeddings: fixed two-dimensional sine-cosine tables, and tables resized to another grid."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dmaelab.utils.errors import ConfigError


def sincos_2d(width: int, grid: int, num_prefix_tokens: int = 1) -> Tensor:
    """Return the table ``[1, num_prefix_tokens + grid*grid, width]``, float32.

    The first rows, those of the prefix tokens (the class token), are zero. Patch (row, col) gets
    ``[sin(col w), cos(col w), sin(row w), cos(row w)]`` with the frequencies ``w_k = 10000^(-k / (width/4))``. The
    column fills the first half, as in the MAE and DMAE weights. The table is computed in float64 and then rounded.

    Raises:
        ConfigError: the width is not divisible by 4.
    """
    if width % 4:
        raise ConfigError(f"a sine-cosine table needs a width divisible by 4, got {width}")
    quarter = width // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    positions = torch.arange(grid, dtype=torch.float64)
    angles = torch.outer(positions, frequencies)  # [grid, quarter]
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # [grid, width/2]
    by_column = line.repeat(grid, 1)  # patch t = row*grid + col
    by_row = line.repeat_interleave(grid, dim=0)
    table = torch.cat([by_column, by_row], dim=1)
    return torch.cat([torch.zeros(num_prefix_tokens, width, dtype=torch.float64), table]).unsqueeze(0).float()


def resize_table(table: Tensor, grid: int, num_prefix_rows: int = 1) -> Tensor:
    """Return a position table [1, R + g*g, D], learned or fixed, resized to [1, R + grid*grid, D].

    The rows of the patches are interpolated (bicubic, ``align_corners=False``). The first R = ``num_prefix_rows`` rows,
    such as that of the class token, do not change. MAE does the same for fine-tuning at another resolution.
    """
    prefix, patches = table[:, :num_prefix_rows], table[:, num_prefix_rows:]
    old = round(patches.shape[1] ** 0.5)
    patches = patches.float().transpose(1, 2).unflatten(2, (old, old))  # [1,D,g,g]
    resized = F.interpolate(patches, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([prefix, resized.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
