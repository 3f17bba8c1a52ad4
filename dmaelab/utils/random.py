"""Randomness as a function of its address, never of history.

A :class:`Draw` names one array of random numbers by a key such as ``(seed, "train", step, micro)``.
The same key gives the same numbers in any process, in any order, at any time, so resuming,
sharding and re-ordering need no generator state. A :class:`DrawStack` makes the arrays of several draws at once.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dmaelab.utils.philox import philox_words

PURPOSES = ("init", "train", "data", "eval", "certify", "call")

# Bits of one 64-bit word that go to the radius of Box-Muller in single precision; the other 24
# give the angle, which is all that a float32 angle can hold. 40 bits reach 7.5 standard deviations.
_RADIUS_BITS = 40
_ANGLE_BITS = 64 - _RADIUS_BITS


def _encode(part: int | str) -> bytes:
    """Encode one part of a key, typed and length-prefixed, so that no two keys share an encoding."""
    if isinstance(part, bool) or not isinstance(part, (int, str, np.integer)):
        raise TypeError(f"a key of random numbers is made of integers and text, not {type(part).__name__}")
    text = part.encode() if isinstance(part, str) else str(int(part)).encode()
    return (b"s" if isinstance(part, str) else b"i") + str(len(text)).encode() + b":" + text


class Draw:
    """One array of random numbers, a function of its address.

    Args:
        key: ``(seed, purpose, ...)`` with the purpose one of :data:`PURPOSES`; integers and text.
        device: where the numbers are made. Values on the CPU (numpy's Philox4x64) differ from those on CUDA
            (:mod:`dmaelab.utils.philox`); both take 128 bits of the key's hash.

    Asking for a second array raises ``RuntimeError``: equal bits would correlate. Take children.
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
        """Return the draw at a longer address, for example ``child("mask")`` or ``child("copy", 1)``."""
        return Draw(*self.key, *key, device=self.device)

    def _digest(self) -> bytes:
        if self._used:
            raise RuntimeError(f"{self} has been used: take one child per array, equal bits would correlate")
        self._used = True
        return hashlib.blake2b(b"".join(map(_encode, self.key)), digest_size=16, person=b"dmaelab-1").digest()

    def seed(self) -> int:
        """Return a 64-bit seed for a generator that is not ours (initialisation, drop path)."""
        return int.from_bytes(self._digest()[:8], "little")

    def host(self) -> np.random.Generator:
        """Return a numpy generator, for decisions taken on the host without a device sync."""
        return np.random.Generator(self._philox())

    def _philox(self) -> np.random.Philox:
        return np.random.Philox(key=np.frombuffer(self._digest(), dtype="<u8").astype(np.uint64))

    def bits(self, n: int) -> Tensor:
        """Return ``n`` uniform 64-bit words as an int64 tensor ``[n]`` on the device."""
        return self._words(n).view(-1)

    def _words(self, n: int) -> Tensor:
        """Return ``n`` words of each array that this draw stands for, int64 ``[arrays, n]``."""
        if self.device.type == "cpu":
            return torch.from_numpy(self._philox().random_raw(n).view(np.int64)).view(1, n)
        return philox_words([self._digest()], n, self.device)

    def _rows(self, shape: Sequence[int]) -> int:
        """Return how many arrays an answer of ``shape`` is made of, one above the other."""
        return 1

    def normal(self, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standard normal numbers of ``shape``, made by Box-Muller from the words.

        Ours rather than a library's, whose streams change between releases. float32 uses one word
        for two numbers (40 bits of radius, 24 of angle), float64 two words (53 bits each).
        """
        count = math.prod(shape) // self._rows(shape)
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
        """Return float32 numbers of ``shape``, uniform on the multiples of 2^-24 in [0, 1)."""
        words = (self._words(math.prod(shape) // self._rows(shape)) >> 40) & (2**24 - 1)
        return (words.to(torch.float32) * 2.0**-24).view(shape)


class NotStackable(TypeError):
    """What is asked of a :class:`DrawStack` has no meaning for several arrays at once: ask its draws one by one."""


class DrawStack(Draw):
    """Several draws as one: its arrays are theirs, one above the other, with few kernels for all of them.

    Only arrays with a row for each image can be stacked, for only there is it clear which rows belong to which draw.

    Args:
        draws: of one device, none of them used.
        shape: ``[N,C,H,W]`` of the images of all draws together, N / len(draws) for each.
    """

    def __init__(self, draws: Sequence[Draw], shape: Sequence[int]) -> None:
        self.draws, self.shape, self.device = list(draws), tuple(shape), draws[0].device

    @property
    def key(self) -> tuple[int | str, ...]:  # type: ignore[override]
        """A stack has no key."""
        raise NotStackable("one key for several draws")

    def __repr__(self) -> str:
        return f"DrawStack({self.draws})"

    def child(self, *key: int | str) -> "DrawStack":
        """Return the stack of the draws at longer addresses."""
        return DrawStack([draw.child(*key) for draw in self.draws], self.shape)

    def bits(self, n: int) -> Tensor:
        """Return one word for each number of the images, int64 ``[n]``; ``NotStackable`` for another ``n``."""
        if n != math.prod(self.shape):
            raise NotStackable(f"{n} words for images of {list(self.shape)}")
        return self._words(n // len(self.draws)).view(-1)

    def _words(self, n: int) -> Tensor:
        if self.device.type == "cuda":
            return philox_words([draw._digest() for draw in self.draws], n, self.device)
        return torch.cat([draw._words(n) for draw in self.draws])

    def _rows(self, shape: Sequence[int]) -> int:
        if tuple(shape) != self.shape and tuple(shape) != self.shape[:1]:
            raise NotStackable(f"numbers of shape {list(shape)} for images of {list(self.shape)}")
        return len(self.draws)

    def _digest(self) -> bytes:
        raise NotStackable("one seed or host generator for several draws")


def _polar(radius_bits, num_radius_bits, angle_bits, num_angle_bits, dtype):
    """Turn integer bits into the radius and the angle of Box-Muller; +0.5 keeps log away from 0."""
    fraction = (radius_bits.to(dtype) + 0.5) * 2.0**-num_radius_bits
    radius = torch.sqrt(-2.0 * torch.log(fraction.clamp_(max=1.0)))
    return radius, angle_bits.to(dtype) * (2 * math.pi * 2.0**-num_angle_bits)
