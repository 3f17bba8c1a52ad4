#!/usr/bin/env python
"""Forward of the digits encoder under bf16 autocast: residual stream in bf16 (as in dmaelab) against fp32, side by side.

    python benchmarks/residual_stream.py

Prints the median over rounds of (time with fp32) / (time with bf16); above 1, bf16 is faster.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from dmaelab.modeling import ViT


class FP32Residual(ViT):
    """The alternative: tokens leave the embedding as fp32, and every residual sum then is fp32."""

    def embed(self, images: Tensor) -> Tensor:
        """Return fp32 tokens [N,L,D] of normalised images [N,C,H,W]."""
        return super().embed(images).float()


def seconds(model: ViT, images: Tensor) -> float:
    """Return the time of five forwards."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        started = time.perf_counter()
        for _ in range(5):
            model(images)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    shape = {"width": 64, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0, "image_size": 8, "patch_size": 2, "in_channels": 1}
    half, full = ViT(**shape), FP32Residual(**shape)
    images = torch.randn(1000, 1, 8, 8)
    ratios = [seconds(full, images) / seconds(half, images) for _ in range(args.rounds + 1)][1:]  # the first warms up
    print(f"time with fp32 / time with bf16, median of {args.rounds} rounds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
