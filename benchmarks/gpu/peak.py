"""The peak rate of a device, and the number of operations of a forward."""

import statistics
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.record import Figures, Record
from benchmarks.timing import clocked, matmul, take_turns


def matmul_peaks(record: Record) -> Figures:
    """Measure a large matmul; return precision -> operations per second, without precisions for which it fails."""
    size = 256 if record.tiny else 8192
    found: Figures = {}

    def measure() -> Figures:
        work = {precision: matmul(record.device, precision, size) for precision in ("bf16", "fp16")}
        spent = take_turns(clocked(work), 3 if record.tiny else 20)
        found.update({precision: 2 * size**3 / statistics.median(times) for precision, times in spent.items()})
        return {f"{precision}, TFLOP/s": rate / 1e12 for precision, rate in found.items()} | {"size": size}

    record.measure("matmul peak", measure)
    return found


def forward_flops(forward: Callable[[], object]) -> int:
    """Return the operations of a forward: two for each multiply-add in matrix products and convolutions.

    They are counted with plain attention, as in ``dmaelab.engine.model_analysis``; all attention kernels do the same
    number of multiply-adds.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward()
    return counter.get_total_flops()
