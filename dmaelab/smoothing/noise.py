"""Noisy samples of one image by address: the same sample for any batch, order, shard or restart."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmaelab.corruptions import Corruption
from dmaelab.stats.geometry import Geometry
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw, DrawStack, NotStackable

CHUNK_NUMBERS = 2**20
CHUNK_SAMPLES = 256
# Numbers of one call on a GPU. Fewer calls mean fewer kernels to launch; what lies between takes some 30 bytes a
# number.
_CALL_NUMBERS = 2**24


@dataclass(frozen=True)
class Address:
    """Where the noise of one image lives.

    ``purpose`` is ``"certify"`` with the index of the image in its data set, or ``"call"`` with the
    number of the call, for images that have no index.
    """

    seed: int
    purpose: str
    index: int

    @property
    def name(self) -> str:
        """What messages call the image."""
        return f"image {self.index}" if self.purpose == "certify" else "the image"

    def draw(self, stream: str, chunk: int, device: torch.device) -> Draw:
        """Return the draw of one chunk of a stream."""
        return Draw(self.seed, self.purpose, stream, self.index, chunk, device=device)

    def random(self, name: str) -> np.random.Generator:
        """Return a certifier's own random numbers; the text at the end keeps them apart from chunks."""
        return Draw(self.seed, self.purpose, "random", self.index, name).host()


@dataclass(frozen=True)
class AttackAddress(Address):
    """Where the random numbers of one attempt live; its purpose is ``"eval"``, which no certification has."""

    restart: int

    @property
    def name(self) -> str:
        """What messages call the attempt."""
        return f"image {self.index}, attack {self.restart}"

    def draw(self, stream: str, chunk: int, device: torch.device) -> Draw:
        """Return the draw of one chunk of a stream, or of one step."""
        return Draw(self.seed, self.purpose, "attack", stream, self.index, self.restart, chunk, device=device)


def chunk_size(numel: int) -> int:
    """Return the samples of one chunk for images of ``numel`` numbers.

    The largest power of two between 1 and 256 whose samples have at most 2^20 numbers together. A
    function of the image's shape alone, because the noise of a sample depends on it.
    """
    return min(CHUNK_SAMPLES, 1 << max(0, (CHUNK_NUMBERS // numel).bit_length() - 1))


def noise_version(device_type: str) -> str:
    """Return which noise an address gives on a device, such as ``"1-cpu"``: logs of two versions are not to be mixed.

    The number goes up when the noise of that kind of device changes.
    """
    return f"{1 if device_type == 'cpu' else 2}-{device_type}"


def smoothing_noise(corruption: Corruption) -> tuple[Geometry, float]:
    """Return the geometry and the one sigma of a corruption; ``UserError`` if it certifies nothing."""
    geometry, sigma = corruption.geometry, corruption.sigma
    if geometry is None:
        name = type(corruption).__name__
        raise UserError(
            f"corruption {name} has no geometry: it can be trained with, but no radius follows from it; certify with"
            " another"
        )
    if isinstance(sigma, tuple):
        raise UserError(f"corruption.sigma is the range {sigma}: a certificate is for one level, set corruption.sigma=")
    if sigma == 0:
        raise UserError(
            "corruption.sigma is 0: without noise there is nothing to certify, give a level > 0 in [0,1] pixel units"
        )
    return geometry, sigma


class NoisyImage:
    """One image and its streams of noisy samples.

    Args:
        image: float32 [C,H,W] in [0,1].
        corruption: the noise, with one sigma.
        address: of its random numbers.
        device: where the samples are made.
    """

    def __init__(self, image: Tensor, corruption: Corruption, address: Address, device: torch.device) -> None:
        self.shape, self.name = tuple(image.shape), address.name
        self._corruption, self._address, self._device = corruption, address, device
        if device.type == "cuda" and not image.is_cuda:
            image = image.pin_memory()  # else the host waits for the batches that run
        self._image = image.to(device, non_blocking=True)
        self._sigma = smoothing_noise(corruption)[1]
        self._chunk = chunk_size(image.numel())
        self._most = (
            max(1, _CALL_NUMBERS // (self._chunk * image.numel())) if device.type == "cuda" else 1
        )  # chunks of a call
        self._stream, self._first = "", 0
        self._samples = torch.empty(0)

    def samples(self, stream: str, start: int, limit: int) -> Tensor:
        """Return samples ``start, start + 1, ...`` of ``stream``: up to the end of a chunk, at most ``limit``.

        Float tensor [M,C,H,W], 1 <= M <= limit, not clamped. Chunks are made whole, on a GPU several at once, and
        kept until others are asked for, so batches that end inside them cost nothing twice.
        """
        if stream != self._stream or not self._first <= start < self._first + len(self._samples):
            chunk = start // self._chunk
            count = min(self._most, -(-(start + limit) // self._chunk) - chunk)
            self._stream, self._first, self._samples = stream, chunk * self._chunk, self._make(stream, chunk, count)
        offset = start - self._first
        return self._samples[offset : offset + limit]

    def _make(self, stream: str, chunk: int, count: int) -> Tensor:
        """Return the samples of ``count`` chunks from ``chunk`` on."""
        draws = [self._address.draw(stream, chunk + place, self._device) for place in range(count)]
        if count == 1:
            return self._apply(draws[0], self._chunk)
        try:
            return self._apply(DrawStack(draws, (count * self._chunk, *self.shape)), count * self._chunk)
        except NotStackable:  # a corruption that asks its draw for something else than a number for each pixel or image
            self._most = 1
            return self._make(stream, chunk, 1)

    def _apply(self, draw: Draw, count: int) -> Tensor:
        sigma = torch.full((count,), self._sigma, device=self._device)
        return self._corruption.apply(self._image.expand(count, -1, -1, -1), sigma, draw)
