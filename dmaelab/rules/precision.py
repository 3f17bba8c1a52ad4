"""The precision that ``precision: auto`` selects on a device."""

from functools import lru_cache
from pathlib import Path

# The names of bf16 instructions in /proc/cpuinfo: vectors (Intel and AMD), tiles (Intel), and those of Arm.
_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


@lru_cache
def precision_rule(device_type: str) -> str:
    """Return ``"bf16"`` if the device has instructions for it, and ``"fp32"`` if it has none or this is unknown.

    A processor without them emulates bf16: certification of ViT-B then ran at 0.09 of its fp32 speed. With AMX it ran
    2.6 times as fast as in fp32. Measured by ``python -m benchmarks.processor``.
    """
    if device_type == "cuda":
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return "fp32"
    return "bf16" if _FLAGS & set(words) else "fp32"
