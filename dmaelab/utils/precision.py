"""Names of the floating-point precisions, and the autocast context of each."""

from typing import Literal

import torch

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name -> dtype of autocast; None means float32 without autocast."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""The values allowed in a config; ``"auto"`` is decided by :func:`dmaelab.rules.precision.precision_rule`."""


def autocast(precision: str, device_type: str) -> torch.autocast:
    """Return the autocast context for a forward pass in a precision of :data:`PRECISIONS`; "fp32" disables it."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device_type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
