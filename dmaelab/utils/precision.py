"""Precisions by name: the autocast that each means, and the one that a device is fast in."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name -> type of autocast; None computes in float32."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""What a config may say; ``"auto"`` is :func:`precision_rule`."""

# What Linux calls the instructions: Intel's and AMD's vectors, Intel's tiles, Arm's extension.
_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


@lru_cache
def precision_rule(device_type: str) -> str:
    """Return ``"bf16"`` where the device has instructions for it, else ``"fp32"``.

    A processor without them emulates bf16, many times slower than fp32. Where it cannot be told, ``"fp32"``.
    """
    if device_type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return "fp32"
    return "bf16" if _FLAGS & set(words) else "fp32"


def autocast(precision: str, device_type: str) -> torch.autocast:
    """Return the context of one forward in a precision of :data:`PRECISIONS`; in ``"fp32"`` it does nothing."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device_type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
