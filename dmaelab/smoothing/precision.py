"""The arithmetic that a certificate is for: float32 without shortcuts, or bfloat16 by autocast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dmaelab.utils.errors import UserError, did_you_mean

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}


def check_precision(precision: str) -> None:
    """Raise ``UserError`` for an unknown name."""
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision '{precision}'{did_you_mean(precision, PRECISIONS)}: one of {', '.join(PRECISIONS)}")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context for one forward of the classifier."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


@contextmanager
def evaluation(device: torch.device) -> Iterator[None]:
    """Switch off gradients, TF32, cuDNN's timing of kernels (which may choose others in the next process) and any
    surrounding autocast, for a whole run; put everything back after.

    ``no_grad`` and not ``inference_mode``, which would poison tensors that a module caches in its
    first forward. The autocast that is open but disabled lets those of the single forwards inside
    keep their copies of the weights, which are freed only when the outermost one ends.
    """
    matmul, conv, timing = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = conv, timing
