"""Attention by SDPA and by plain matmuls, side by side: the evidence for the rule in rules/attention.py.

    python -m benchmarks.attention [--device cpu] [--output docs/benchmarks/attention_cpu.json]

For each shape and precision it prints the median over rounds of (time of matmul) / (time of SDPA), for the forward
alone (certification) and with the backward (training). Above 1, SDPA is faster. Both are measured in turn in every
round.
"""

import time

import torch
from tabulate import tabulate

from benchmarks.timing import arguments, ratio, take_turns, wait, write_figures
from dmaelab.modeling import ViT
from dmaelab.utils.cli import run_main
from dmaelab.utils.precision import autocast

# name: image size, patch, channels, width, depth, heads, rows of a forward on a CPU and on a GPU
SHAPES = {
    "digits (17 tokens, 64 wide)": (8, 2, 1, 64, 3, 2, 1000, 16_000),
    "cifar (65 tokens, 128 wide)": (32, 4, 3, 128, 4, 4, 250, 4000),
    "tiny (197 tokens, 192 wide)": (224, 16, 3, 192, 4, 3, 32, 512),
    "base (197 tokens, 768 wide)": (224, 16, 3, 768, 2, 12, 16, 256),
}


def seconds(model: ViT, images: torch.Tensor, precision: str, backward: bool) -> float:
    """Return the time of one forward, or of forward and backward."""
    device = images.device
    with autocast(precision, device.type), torch.set_grad_enabled(backward):
        wait(device)
        started = time.perf_counter()
        features = model(images)
        if backward:
            features.float().sum().backward()
        wait(device)
    return time.perf_counter() - started


def compare(shape: tuple[int, ...], precision: str, backward: bool, device: torch.device, rounds: int) -> float:
    """Return the median ratio matmul / SDPA."""
    size, patch, channels, width, depth, heads, *rows = shape
    models = {
        kernel: ViT(width, depth, heads, image_size=size, patch_size=patch, in_channels=channels, attention=kernel).to(
            device
        )
        for kernel in ("matmul", "sdpa")
    }
    images = torch.randn(rows[device.type == "cuda"], channels, size, size, device=device)
    work = {kernel: lambda model=model: seconds(model, images, precision, backward) for kernel, model in models.items()}
    return ratio(take_turns(work, rounds), "matmul", "sdpa")


def main() -> None:
    """Measure all shapes and print the table."""
    args = arguments(__doc__, rounds=15).parse_args()
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
    write_figures(args.output, device, records=records)


if __name__ == "__main__":
    run_main(main)
