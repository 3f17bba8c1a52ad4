"""Philox4x32-10: 64-bit random words as a function of a key and an index (Salmon et al., 2011).

The paper is "Parallel random numbers: as easy as 1, 2, 3". Word j of a key is one half of the block that the cipher
computes from the counter j // 2. A word therefore depends only on its key and on j, not on how many words are asked
for at once and not on the GPU. (torch's own generators split a call over the multiprocessors, so that a GPU with fewer
multiprocessors gives other numbers.)
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_LOW = 2**32 - 1
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

# The cipher for one word in CUDA. The GPU driver compiles it at the first use, so no other compiler is needed.
KERNEL = """
template <typename T> T philox_word(T place, T key, T more) {
  unsigned long long block = static_cast<unsigned long long>(place) / 2;
  unsigned long long cipher_key = static_cast<unsigned long long>(key), upper = static_cast<unsigned long long>(more);
  unsigned int c0 = static_cast<unsigned int>(block), c1 = static_cast<unsigned int>(block >> 32);
  unsigned int c2 = static_cast<unsigned int>(upper), c3 = static_cast<unsigned int>(upper >> 32);
  unsigned int k0 = static_cast<unsigned int>(cipher_key), k1 = static_cast<unsigned int>(cipher_key >> 32);
  for (int round = 0; round < 10; ++round) {
    unsigned long long p0 = 0xD2511F53ULL * c0, p1 = 0xCD9E8D57ULL * c2;
    unsigned int old1 = c1, old3 = c3;
    c0 = static_cast<unsigned int>(p1 >> 32) ^ old1 ^ k0;
    c1 = static_cast<unsigned int>(p1);
    c2 = static_cast<unsigned int>(p0 >> 32) ^ old3 ^ k1;
    c3 = static_cast<unsigned int>(p0);
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  unsigned long long high = place % 2 == 0 ? c0 : c2, low = place % 2 == 0 ? c1 : c3;
  return static_cast<T>((high << 32) | low);
}
"""


def philox_words(keys: Sequence[bytes], count: int, device: torch.device) -> Tensor:
    """Return the first ``count`` words of each key, int64 ``[len(keys), count]`` on ``device``.

    The host does not wait for the device.

    Args:
        keys: 16 bytes each. The first 8 are the key of the cipher, the others the upper half of its counter.
        count: number of words of each key.
        device: where the words are computed.
    """
    halves = torch.from_numpy(np.frombuffer(b"".join(keys), dtype="<i8").astype(np.int64).reshape(len(keys), 2))
    if device.type == "cuda":
        halves = halves.pin_memory()
    halves = halves.to(device, non_blocking=True)
    places = torch.arange(count, device=device)
    return _function(device)(places, halves[:, :1], halves[:, 1:])


def plain_words(places: Tensor, key: Tensor, more: Tensor) -> Tensor:
    """Return the words with the indices ``places`` [N] of K keys, int64 ``[K,N]``, in torch operations on any device.

    ``key`` and ``more`` are the two halves of each key, int64 [K,1]. Each 32-bit number is stored in an int64, so that
    products are exact.
    """
    shape = torch.broadcast_shapes(places.shape, key.shape)  # type: ignore[no-untyped-call]
    block = places // 2
    counter = [part.expand(shape) for part in (block & _LOW, block >> 32, more & _LOW, (more >> 32) & _LOW)]
    first, second, third, fourth = cipher(counter, [key & _LOW, (key >> 32) & _LOW])
    even = places % 2 == 0
    return (torch.where(even, first, third) << 32) | torch.where(even, second, fourth)


def cipher(counter: list[Tensor], keys: list[Tensor]) -> list[Tensor]:
    """Return the block (four 32-bit numbers in int64) for a counter (four such numbers) and a key (two)."""
    for _ in range(_ROUNDS):
        (high0, low0), (high1, low1) = _multiply(counter[0], _MULTIPLIERS[0]), _multiply(counter[2], _MULTIPLIERS[1])
        counter = [high1 ^ counter[1] ^ keys[0], low1, high0 ^ counter[3] ^ keys[1], low0]
        keys = [(part + step) & _LOW for part, step in zip(keys, _KEY_STEPS, strict=True)]
    return counter


def _multiply(number: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the upper and the lower 32 bits of a product of two 32-bit numbers.

    int64 wraps around on overflow, so all 64 bits of the product are kept.
    """
    product = number * factor
    return (product >> 32) & _LOW, product & _LOW


@lru_cache
def _function(device: torch.device) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the fastest function that computes words on a device: on a GPU the kernel, if a test finds it correct."""
    if device.type != "cuda":
        return plain_words
    try:
        kernel = torch.cuda.jiterator._create_jit_fn(KERNEL)
        places = torch.arange(257, device=device)
        key = torch.tensor([[0x0123456789ABCDEF], [-2]], device=device)
        if torch.equal(kernel(places, key, ~key), plain_words(places, key, ~key)):
            return kernel
        reason = "it computes wrong words"
    except (RuntimeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
    warnings.warn(
        f"the kernel for random words cannot be used on {device} ({reason}); using slower torch operations instead",
        stacklevel=2,
    )
    return plain_words
