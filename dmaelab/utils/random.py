"""Random numbers as a function of a key, without generator state.

A :class:`Draw` stands for one array of random numbers and has a key such as ``(seed, "train", step, micro)``.
The same key gives the same numbers in every process and in any order of calls. Resuming, sharding and re-ordering
therefore need no generator state. A :class:`DrawStack` computes the arrays of several draws at once.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dmaelab.utils.errors import UserError
from dmaelab.utils.philox import philox_words

PURPOSES = ("init", "train", "data", "eval", "certify", "call")

# Of each 64-bit word, Box-Muller in float32 uses 40 bits for the radius and 24 for the angle. A float32 angle has no
# more than 24 bits. With 40 bits for the radius the largest number is 7.5 standard deviations.
_RADIUS_BITS = 40
_ANGLE_BITS = 64 - _RADIUS_BITS


def _encode(part: int | str) -> bytes:
    """Encode one part of a key with its type and length, so that different keys have different encodings."""
    if isinstance(part, bool) or not isinstance(part, (int, str, np.integer)):
        raise TypeError(f"the key of a draw consists of integers and text, not {type(part).__name__}")
    text = part.encode() if isinstance(part, str) else str(int(part)).encode()
    return (b"s" if isinstance(part, str) else b"i") + str(len(text)).encode() + b":" + text


class ArrayDraw(ABC):
    """Arrays of random numbers: what a :class:`Draw` and a :class:`DrawStack` have in common.

    Attributes:
        device: where the numbers are computed.
    """

    device: torch.device

    @abstractmethod
    def child(self, *key: int | str) -> "ArrayDraw":
        """Return the draw whose key is this key and the given parts, e.g. ``child("mask")`` or ``child("copy", 1)``."""

    @abstractmethod
    def bits(self, n: int) -> Tensor:
        """Return ``n`` uniform 64-bit words as an int64 tensor ``[n]`` on the device."""

    def normal(self, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standard normal numbers of ``shape``, computed from the words by Box-Muller.

        No library's generator is used, because its numbers may change between releases. In float32, two numbers use one
        word (40 bits for the radius, 24 for the angle); in float64, two numbers use two words (53 bits each). Other
        dtypes are converted from float32.
        """
        count = self._each(shape)
        pairs = (count + 1) // 2
        if dtype == torch.float64:
            words = self._words(2 * pairs)
            radius_bits = (words[:, :pairs] >> 11) & (2**53 - 1)
            angle_bits = (words[:, pairs:] >> 11) & (2**53 - 1)
            radius, angle = _polar(radius_bits, 53, angle_bits, 53, torch.float64)
        else:
            words = self._words(pairs)
            radius_bits = (words >> _ANGLE_BITS) & (2**_RADIUS_BITS - 1)
            angle_bits = words & (2**_ANGLE_BITS - 1)
            radius, angle = _polar(radius_bits, _RADIUS_BITS, angle_bits, _ANGLE_BITS, torch.float32)
        numbers = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]
        return numbers.reshape(shape).to(dtype)

    def uniform(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """Return float32 numbers of ``shape`` from the uniform distribution on the multiples of 2^-24 in [0, 1)."""
        words = (self._words(self._each(shape)) >> 40) & (2**24 - 1)
        return (words.to(torch.float32) * 2.0**-24).view(shape)

    @abstractmethod
    def _words(self, n: int) -> Tensor:
        """Return ``n`` words for each of the arrays of this draw (one, or several for a stack), int64 [arrays, n]."""

    @abstractmethod
    def _each(self, shape: Sequence[int]) -> int:
        """Return how many numbers of a result of ``shape`` belong to each of the arrays."""


class Draw(ArrayDraw):
    """One array of random numbers, determined by its key.

    A draw can be used for one array only. A second request raises ``RuntimeError``, because both arrays would be made
    of the same bits and be correlated. For several arrays take one :meth:`child` each.

    Args:
        key: ``(seed, purpose, ...)``, integers and text; the purpose is one of :data:`PURPOSES`.
        device: where the numbers are computed. The CPU (numpy's Philox4x64) and CUDA (:mod:`dmaelab.utils.philox`)
            give different numbers for the same key. Both use 128 bits of the key's hash.

    Raises:
        ValueError: the key has no purpose of :data:`PURPOSES`.
    """

    def __init__(self, *key: int | str, device: torch.device | str = "cpu") -> None:
        if len(key) < 2 or key[1] not in PURPOSES:
            raise ValueError(f"the key of a draw is (seed, purpose, ...) with the purpose one of {PURPOSES}, got {key}")
        self.key = key
        self.device = torch.device(device)
        self._used = False

    def __repr__(self) -> str:
        return f"Draw{self.key}"

    def child(self, *key: int | str) -> "Draw":
        """Return the draw whose key is this key and the given parts."""
        return Draw(*self.key, *key, device=self.device)

    def _digest(self) -> bytes:
        if self._used:
            raise RuntimeError(
                f"{self} has been used already: take one child() per array, the same bits would be correlated"
            )
        self._used = True
        return hashlib.blake2b(b"".join(map(_encode, self.key)), digest_size=16, person=b"dmaelab-1").digest()

    def seed(self) -> int:
        """Return a 64-bit seed for another library's generator (used for initialisation and drop path)."""
        return int.from_bytes(self._digest()[:8], "little")

    def host(self) -> np.random.Generator:
        """Return a numpy generator, for random choices on the host that need no synchronisation with the device."""
        return np.random.Generator(self._philox())

    def _philox(self) -> np.random.Philox:
        return np.random.Philox(key=np.frombuffer(self._digest(), dtype="<u8").astype(np.uint64))

    def bits(self, n: int) -> Tensor:
        """Return ``n`` uniform 64-bit words as an int64 tensor ``[n]`` on the device."""
        return self._words(n).view(-1)

    def _words(self, n: int) -> Tensor:
        if self.device.type == "cpu":
            return torch.from_numpy(self._philox().random_raw(n).view(np.int64)).view(1, n)
        return philox_words([self._digest()], n, self.device)

    def _each(self, shape: Sequence[int]) -> int:
        return math.prod(shape)


class DrawStack(ArrayDraw):
    """Several draws used as one: it returns their arrays concatenated along the first axis.

    This needs fewer GPU kernels than one call for each draw. Only arrays whose first axis is the images can be stacked,
    because only then is it clear which rows belong to which draw.

    Args:
        draws: unused draws on the same device.
        shape: shape ``[N,C,H,W]`` of the images of all draws together; each draw has N / len(draws) of them.

    Raises:
        UserError: in the methods, a request for other arrays.
    """

    def __init__(self, draws: Sequence[Draw], shape: Sequence[int]) -> None:
        self.draws, self.shape, self.device = list(draws), tuple(shape), draws[0].device

    def __repr__(self) -> str:
        return f"DrawStack({self.draws})"

    def child(self, *key: int | str) -> "DrawStack":
        """Return the stack of the children of all draws."""
        return DrawStack([draw.child(*key) for draw in self.draws], self.shape)

    def bits(self, n: int) -> Tensor:
        """Return one word for each pixel value of the images, int64 ``[n]``; ``n`` must be N * C * H * W."""
        if n != math.prod(self.shape):
            raise self._refusal(f"{n} words")
        return self._words(n // len(self.draws)).view(-1)

    def _words(self, n: int) -> Tensor:
        if self.device.type == "cuda":
            return philox_words([draw._digest() for draw in self.draws], n, self.device)
        return torch.cat([draw._words(n) for draw in self.draws])

    def _each(self, shape: Sequence[int]) -> int:
        if tuple(shape) not in (self.shape, self.shape[:1]):
            raise self._refusal(f"numbers of shape {list(shape)}")
        return math.prod(shape) // len(self.draws)

    def _refusal(self, what: str) -> UserError:
        return UserError(
            f"draws that are stacked for images of shape {list(self.shape)} cannot give {what}: set stackable = False"
            " in the corruption"
        )


def _polar(
    radius_bits: Tensor, num_radius_bits: int, angle_bits: Tensor, num_angle_bits: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Turn integer bits into the radius and the angle of Box-Muller; the +0.5 avoids log(0)."""
    fraction = (radius_bits.to(dtype) + 0.5) * 2.0**-num_radius_bits
    radius = torch.sqrt(-2.0 * torch.log(fraction.clamp_(max=1.0)))
    return radius, angle_bits.to(dtype) * (2 * math.pi * 2.0**-num_angle_bits)
