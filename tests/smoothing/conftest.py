"""Small things that several tests of certification use."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Brightness(nn.Module):
    """Three classes by the value of one pixel: elementwise, so the same in any batch shape."""

    def forward(self, images: Tensor) -> Tensor:
        pixel = images[:, 0, 0, 0]
        return torch.stack([0.4 - pixel, torch.full_like(pixel, 0.02), pixel - 0.6], dim=1)


class Dim:
    """A data set of 4x4 images of which one pixel matters."""

    def __init__(self, count: int = 12) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        value = (index % 8) / 7
        return torch.full((1, 4, 4), value), 0 if value < 0.4 else 2 if value > 0.6 else 1


@pytest.fixture
def brightness() -> nn.Module:
    return Brightness()


@pytest.fixture
def images() -> Dim:
    return Dim()


@pytest.fixture
def comparable() -> Callable[[list[dict]], list[dict]]:
    """Rows without the time, nan as text: what must be equal between runs."""

    def strip(rows: list[dict]) -> list[dict]:
        return [{key: str(value) for key, value in row.items() if key != "time"} for row in rows]

    return strip
