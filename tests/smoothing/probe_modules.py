"""Modules whose rows depend on each other or on earlier calls, and modules that only look so."""

import os
import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHAPE = (3, 8, 8)


def convs(*norms: nn.Module) -> nn.Sequential:
    """Return a small network, 3 classes, with layers for 8 channels between its convolutions."""
    torch.manual_seed(0)
    blocks = [block for norm in norms for block in (norm, nn.ReLU(), nn.Conv2d(8, 8, 3))]
    return nn.Sequential(nn.Conv2d(3, 8, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def trained(norm: nn.Module) -> nn.Module:
    """Give a batch norm running statistics that are not those of new images."""
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


class Around(nn.Module):
    """A network whose ``extra`` is applied to its flat images; subclasses say what that is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(192, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.extra(images.flatten(1)))

    def extra(self, rows: Tensor) -> Tensor:
        return rows


class On(Around):
    """The network after a function of flat images [N,D]."""

    def __init__(self, extra) -> None:
        super().__init__()
        self.extra = extra


class After(On):
    """The network before a function of logits [N,3]."""

    def forward(self, images: Tensor) -> Tensor:
        return self.extra(self.linear(images.flatten(1)))


class StubbornDropout(nn.Dropout):
    def train(self, mode: bool = True):
        return super().train(True)


class StubbornNorm(nn.BatchNorm2d):
    def train(self, mode: bool = True):
        return super().train(True)


class TrainsItself(nn.Module):
    """Switches its batch norm to training mode in each forward."""

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.network, self.back = convs(nn.BatchNorm2d(8)), back

    def forward(self, images: Tensor) -> Tensor:
        self.network.train()
        logits = self.network(images)
        if self.back:
            self.network.eval()
        return logits


class Harmless(Around):
    """Only its mode changes."""

    def extra(self, rows: Tensor) -> Tensor:
        self.linear.train()
        return rows


class BatchAttention(nn.Module):
    """``batch_first`` forgotten: the images attend to each other."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(24, 2, batch_first=batch_first)
        self.head = nn.Linear(24, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2).reshape(len(images), 8, 24)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


class OwnGenerator(Around):
    def __init__(self, fixed: bool = False, shared: bool = False) -> None:
        super().__init__()
        self.generator, self.fixed, self.shared = torch.Generator().manual_seed(0), fixed, shared

    def extra(self, rows: Tensor) -> Tensor:
        if self.fixed:
            self.generator.manual_seed(0)
        return rows + torch.randn(rows[:1].shape if self.shared else rows.shape, generator=self.generator)


class FirstCall(Around):
    """Keeps something of the first batch: ``what`` is its logits, or a statistic of its rows."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.kept = what, None

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1)
        if self.kept is None:
            self.kept = {"logits": lambda: self.linear(rows), "mean": lambda: rows.mean(0)}[self.what]()
        return self.kept if self.what == "logits" else self.linear(rows - self.kept)


class ActNorm(Around):
    """Sets its buffers in the first forward, as normalising flows do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ready", torch.tensor(False))
        self.register_buffer("shift", torch.zeros(192))

    def extra(self, rows: Tensor) -> Tensor:
        if not self.ready:
            self.shift.copy_(rows.mean(0))
            self.ready.fill_(True)
        return rows - self.shift


class Counter(Around):
    """Counts its calls in a buffer, an attribute or a list, and adds the count to the logits or not."""

    def __init__(self, kind: str, used: bool) -> None:
        super().__init__()
        self.kind, self.used, self.number, self.calls = kind, used, 0, []
        self.register_buffer("count", torch.zeros(()))

    def extra(self, rows: Tensor) -> Tensor:
        if self.kind == "buffer":
            self.count += 1
        elif self.kind == "attribute":
            self.number += 1
        else:
            self.calls.append(len(rows))
        return rows + self.used * (self.count + self.number + len(self.calls))


class MovingMean(Around):
    """Subtracts a moving average over the batches, kept outside the module."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = type("Holder", (), {"mean": 0})()

    def extra(self, rows: Tensor) -> Tensor:
        self.holder.mean = 0.9 * self.holder.mean + 0.1 * rows.mean()
        return rows - self.holder.mean


class Lazy(Around):
    """Fills a cache in the first call, always with the same."""

    def __init__(self, buffer: bool, by_size: bool = False) -> None:
        super().__init__()
        self.by_size = by_size
        if buffer:
            self.register_buffer("scale", None, persistent=False)
        else:
            self.scale = None

    def extra(self, rows: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = torch.linspace(0, 1, rows.shape[1]).expand(len(rows) if self.by_size else 1, -1)
        return rows * self.scale


class FilledBuffer(Around):
    """Fills a buffer of zeros in the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(192))

    def extra(self, rows: Tensor) -> Tensor:
        if not self.table.any():
            self.table.copy_(torch.linspace(0, 1, 192))
        return rows + self.table


class EarlyExit(Around):
    """Sure rows leave early; the others go through a second part."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1)
        logits = self.linear(rows).float()
        unsure = logits.softmax(1).amax(1) < 0.5
        logits[unsure] = self.second(rows[unsure]).float()
        return logits


class Experts(Around):
    """A hard choice of the expert for each row, without a capacity."""

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__()
        self.experts, self.capacity = nn.ModuleList(nn.Linear(192, 3) for _ in range(4)), capacity

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1)
        choice = (8 * rows[:, 0]).long() % 4
        logits = torch.zeros(len(rows), 3)
        for number, expert in enumerate(self.experts):
            mine = (choice == number).nonzero().flatten()[: self.capacity]
            logits[mine] = expert(rows[mine]).float()
        return logits


class Ensemble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(convs(nn.GroupNorm(2, 8)) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images).softmax(1) for member in self.members]).mean(0).log()


class Whole(Around):
    """Takes batches of one size only, or multiples of a size, like an exported module."""

    def __init__(self, rows: int, around: bool = False, multiple: bool = False) -> None:
        super().__init__()
        self.rows, self.around, self.multiple = rows, around, multiple

    def extra(self, rows: Tensor) -> Tensor:
        assert len(rows) % self.rows == 0, f"{len(rows)} rows instead of {self.rows}"
        assert self.multiple or len(rows) == self.rows
        return rows - rows.mean(0) if self.around else rows


def batch_norm(rows: Tensor) -> Tensor:
    return F.batch_norm(rows, None, None, training=True)


def ghost_batch_norm(rows: Tensor) -> Tensor:
    return torch.cat([batch_norm(part) if len(part) > 1 else part for part in rows.split(4)])


def pairs(rows: Tensor) -> Tensor:
    mixed = rows.clone()
    mixed[: len(rows) // 2 * 2] = (rows[0::2] + rows[1::2]).repeat_interleave(2, 0)
    return mixed


def by_tensor_scale(rows: Tensor) -> Tensor:
    scale = rows.abs().max() / 127
    return (rows / scale).round() * scale


def by_row_scale(rows: Tensor) -> Tensor:
    scale = rows.abs().amax(1, keepdim=True) / 127
    return (rows / scale).round() * scale


def standardised(rows: Tensor) -> Tensor:
    deviation = rows.std(1, keepdim=True)
    assert (deviation > 0).all(), "an image without contrast"
    return (rows - rows.mean(1, keepdim=True)) / deviation


def normal_like(rows: Tensor) -> Tensor:
    return rows + torch.randn_like(rows)


def numpy_noise(rows: Tensor) -> Tensor:
    return rows + torch.from_numpy(np.random.randn(*rows.shape)).float()  # noqa: NPY002


def fresh_numpy_noise(rows: Tensor) -> Tensor:
    return rows + torch.from_numpy(np.random.default_rng().standard_normal(rows.shape)).float()


def python_noise(rows: Tensor) -> Tensor:
    return rows * torch.tensor([[random.random()] for _ in rows])


def system_noise(rows: Tensor) -> Tensor:
    return rows * torch.tensor([[byte / 255] for byte in os.urandom(len(rows))])


def shared_mask(rows: Tensor) -> Tensor:
    return rows * torch.bernoulli(torch.full((1, rows.shape[1]), 0.5))


def as_many_as_bright(rows: Tensor) -> Tensor:
    """Draws as many numbers as there are bright rows: the numbers of a row depend on the others."""
    rows = rows.clone()
    bright = rows.mean(1) > 0.5
    rows[bright] += torch.randn(int(bright.sum()), rows.shape[1])
    return rows
