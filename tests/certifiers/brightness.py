"""A small classifier and its images, for logs that are verified."""

import torch
from torch import nn


class Brightness(nn.Module):
    """Three classes by the value of one pixel."""

    def forward(self, images):
        pixel = images[:, 0, 0, 0]
        return torch.stack([0.4 - pixel, torch.full_like(pixel, 0.02), pixel - 0.6], dim=1)


def image(index):
    return torch.full((1, 4, 4), (index % 8) * 36 / 255), index % 3
