#!/usr/bin/env python
"""Attention through SDPA against plain matmuls, side by side: what the rule in modeling/attention.py rests on.

    python benchmarks/attention.py [--device cpu] [--output docs/benchmarks/attention_cpu.json]

Prints, per shape and precision, the median over rounds of (time of matmul) / (time of SDPA), forward alone
(certification) and with backward (training); above 1, SDPA is faster. The two take turns within each round.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from tabulate import tabulate

from dmaelab.modeling import ViT
from dmaelab.utils.env import environment
from dmaelab.utils.files import write_json

# name: image size, patch, channels, width, depth, heads, rows of a forward
SHAPES = {
    "digits (17 tokens, 64 wide)": (8, 2, 1, 64, 3, 2, 1000),
    "cifar (65 tokens, 128 wide)": (32, 4, 3, 128, 4, 4, 250),
    "tiny (197 tokens, 192 wide)": (224, 16, 3, 192, 4, 3, 32),
    "base (197 tokens, 768 wide)": (224, 16, 3, 768, 2, 12, 16),
}


def seconds(model: ViT, images: torch.Tensor, precision: str, backward: bool) -> float:
    """Return the time of one forward, or of forward and backward."""
    device = images.device
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"), torch.set_grad_enabled(backward):
        _wait(device)
        started = time.perf_counter()
        features = model(images)
        if backward:
            features.float().sum().backward()
        _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(shape: tuple[int, ...], precision: str, backward: bool, device: torch.device, rounds: int) -> float:
    """Return the median ratio matmul / SDPA."""
    size, patch, channels, width, depth, heads, rows = shape
    models = {
        kernel: ViT(width, depth, heads, image_size=size, patch_size=patch, in_channels=channels, attention=kernel).to(device)
        for kernel in ("matmul", "sdpa")
    }
    images = torch.randn(rows, channels, size, size, device=device)
    for model in models.values():
        seconds(model, images, precision, backward)
    ratios = []
    for _ in range(rounds):
        spent = {kernel: seconds(model, images, precision, backward) for kernel, model in models.items()}
        ratios.append(spent["matmul"] / spent["sdpa"])
    return statistics.median(ratios)


def main() -> None:
    """Measure all shapes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", help="also write the figures as JSON")
    args = parser.parse_args()
    device = torch.device(args.device)
    records = []
    for name, shape in SHAPES.items():
        for precision in ("fp32", "bf16"):
            record = {"shape": name, "precision": precision}
            for label, backward in (("forward", False), ("forward + backward", True)):
                record[label] = round(compare(shape, precision, backward, device, args.rounds), 2)
            records.append(record)
    print("time of matmul / time of SDPA (above 1: SDPA is faster)")
    print(tabulate(records, headers="keys"))
    if args.output:
        write_json(
            args.output, {"environment": environment(), "device": str(device), "threads": torch.get_num_threads(), "records": records}
        )


if __name__ == "__main__":
    main()
