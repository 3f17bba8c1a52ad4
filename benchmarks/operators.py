"""Share of each kind of operator in the time of a forward on a CPU, as certification runs it.

    python -m benchmarks.operators [--precision fp32]

All operators except matrix products read and write whole activations for a few operations on each number, so they are
bound by memory. Their share explains how far a network stays below the rate of a large matmul.
"""

import argparse
from collections import Counter

import torch
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile

from benchmarks.processor import BATCHES, subject_of
from dmaelab.smoothing.arithmetic import Arithmetic, fixed_kernels
from dmaelab.utils.cli import run_main

KINDS = {
    "products": ("addmm", "bmm", "mm", "linear", "convolution"),
    "attention": ("attention", "softmax"),
    "copies": ("copy_", "cat"),
    "GELU": ("gelu",),
    "layer norms": ("layer_norm",),
    "sums": ("aten::add", "aten::mul", "aten::sub", "aten::div", "aten::sum", "aten::mean"),
}


def shares(name: str, batch: int, precision: str) -> dict[str, float]:
    """Return the share of each kind of operator in the time of three forwards."""
    device, subject, arithmetic = torch.device("cpu"), subject_of(name, batch), Arithmetic(precision)
    model, images = subject.make(device), torch.rand(batch, *subject.shape)
    with torch.no_grad(), fixed_kernels(device), arithmetic.autocast(device):
        model(images)
        with profile(activities=[ProfilerActivity.CPU]) as found:
            for _ in range(3):
                model(images)
    spent: Counter[str] = Counter()
    for event in found.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), "other")
        spent[kind] += event.self_cpu_time_total
    return {kind: spent[kind] / spent.total() for kind in (*KINDS, "other")}


def main() -> None:
    """Profile the three networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    args = parser.parse_args()
    rows = {name: shares(name, batch, args.precision) for name, (batch, _) in BATCHES.items()}
    cells = [[name, *(f"{100 * share:.0f} %" for share in row.values())] for name, row in rows.items()]
    print(tabulate(cells, ["network", *KINDS, "other"]))


if __name__ == "__main__":
    run_main(main)
