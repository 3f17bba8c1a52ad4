"""Precisions by name, and the autocast that each means."""

from typing import Literal

import torch

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name -> type of autocast; None computes in float32."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""What a config may say; ``"auto"`` is :func:`dmaelab.rules.precision.precision_rule`."""


def autocast(precision: str, device_type: str) -> torch.autocast:
    """Return the context of one forward in a precision of :data:`PRECISIONS`; in ``"fp32"`` it does nothing."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device_type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
