"""Noisy samples of one image, each with an address for its random numbers.

A sample depends on its address only: not on batches, the order of images, shards or restarts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmaelab.corruptions import Corruption
from dmaelab.stats.geometry import Geometry
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import ArrayDraw, Draw, DrawStack

CHUNK_NUMBERS = 2**20
CHUNK_SAMPLES = 256
# Random numbers made by one call on a GPU. Larger calls launch fewer kernels, but need about 30 bytes of memory for
# each number.
_CALL_NUMBERS = 2**24


@dataclass(frozen=True)
class Address:
    """The address of the random numbers of one image: the same address always gives the same numbers.

    Attributes:
        seed: seed of the smoothed classifier.
        purpose: ``"certify"`` for an image of a data set, ``"call"`` for an image that has no index.
        index: index of the image in its data set, or the number of the call.
    """

    seed: int
    purpose: str
    index: int

    @property
    def name(self) -> str:
        """The name of the image in messages."""
        return f"image {self.index}" if self.purpose == "certify" else "the image"

    def draw(self, stream: str, chunk: int, device: torch.device) -> Draw:
        """Return the draw of one chunk of a stream."""
        return Draw(self.seed, self.purpose, stream, self.index, chunk, device=device)

    def random(self, name: str) -> np.random.Generator:
        """Return a generator for a certifier's own random numbers, independent of the noise."""
        # A chunk's address ends with a number, this one with a text, so the two never coincide.
        return Draw(self.seed, self.purpose, "random", self.index, name).host()


@dataclass(frozen=True)
class AttackAddress(Address):
    """The address of the random numbers of one attempt of an attack.

    Its purpose is ``"eval"``. No certification has this purpose, so an attack never sees the noise of a certificate.
    """

    restart: int

    @property
    def name(self) -> str:
        """The name of the attempt in messages."""
        return f"image {self.index}, attack {self.restart}"

    def draw(self, stream: str, chunk: int, device: torch.device) -> Draw:
        """Return the draw of one chunk of a stream, or of one step of the search."""
        return Draw(self.seed, self.purpose, "attack", stream, self.index, self.restart, chunk, device=device)


def chunk_size(numel: int) -> int:
    """Return the number of samples in one chunk, for images of ``numel`` values.

    It is the largest power of two, from 1 to 256, whose samples have at most 2^20 values together (1 for larger
    images). The noise of a sample depends on the chunk size, so only the shape of the image may determine it.
    """
    return min(CHUNK_SAMPLES, 1 << max(0, (CHUNK_NUMBERS // numel).bit_length() - 1))


def chunks_at_once(numel: int, stackable: bool, device_type: str) -> int:
    """Return the number of chunks that one call makes. It changes the speed, not the noise.

    Args:
        numel: number of values of an image.
        stackable: whether the corruption can make several chunks at once.
        device_type: type of the device that makes the noise.
    """
    if not stackable or device_type != "cuda":
        return 1
    return max(1, _CALL_NUMBERS // (chunk_size(numel) * numel))


def noise_version(device_type: str) -> str:
    """Return the version of the noise on a type of device, such as ``"1-cpu"``.

    The same address gives other noise in another version, so logs of two versions must not be merged. The number is
    raised whenever the noise on that type of device changes.
    """
    return f"{1 if device_type == 'cpu' else 2}-{device_type}"


def smoothing_noise(corruption: Corruption) -> tuple[Geometry, float]:
    """Return the geometry and the sigma of a corruption.

    Raises:
        UserError: the corruption has no geometry, a range of sigmas, or sigma 0, so that no radius follows from it.
    """
    geometry, sigma = corruption.geometry, corruption.sigma
    if geometry is None:
        name = type(corruption).__name__
        raise UserError(
            f"corruption {name} has no geometry: it is for training only, no radius follows from it; certify with"
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
        address: address of its random numbers.
        device: device on which the samples are made.
    """

    def __init__(self, image: Tensor, corruption: Corruption, address: Address, device: torch.device) -> None:
        self.shape, self.name = tuple(image.shape), address.name
        self._corruption, self._address, self._device = corruption, address, device
        if device.type == "cuda" and not image.is_cuda:
            image = image.pin_memory()  # else the host waits for the batches that run
        self._image = image.to(device, non_blocking=True)
        self._sigma = smoothing_noise(corruption)[1]
        self._chunk = chunk_size(image.numel())
        self._most = chunks_at_once(image.numel(), corruption.stackable, device.type)
        self._stream, self._first = "", 0
        self._samples = torch.empty(0)

    def samples(self, stream: str, start: int, limit: int) -> Tensor:
        """Return samples ``start, start + 1, ...`` of ``stream``: at most ``limit``, fewer if a chunk ends earlier.

        The result is a float tensor [M,C,H,W], 1 <= M <= limit, not clamped. Chunks are always made whole, several at
        once on a GPU, and the last ones are kept. So a batch that ends inside a chunk causes no work to be repeated.
        """
        if stream != self._stream or not self._first <= start < self._first + len(self._samples):
            chunk = start // self._chunk
            count = min(self._most, -(-(start + limit) // self._chunk) - chunk)
            self._stream, self._first, self._samples = stream, chunk * self._chunk, self._make(stream, chunk, count)
        offset = start - self._first
        return self._samples[offset : offset + limit]

    def _make(self, stream: str, chunk: int, count: int) -> Tensor:
        """Return the samples of ``count`` chunks, the first of them ``chunk``."""
        draws = [self._address.draw(stream, chunk + place, self._device) for place in range(count)]
        images = self._image.expand(count * self._chunk, -1, -1, -1)
        sigma = torch.full((len(images),), self._sigma, device=self._device)
        draw: ArrayDraw = draws[0] if count == 1 else DrawStack(draws, images.shape)
        return self._corruption.apply(images, sigma, draw)
