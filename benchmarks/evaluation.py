"""Memory format and compilation in certification: evidence for rules/memory_format.py and rules/compilation.py.

    python -m benchmarks.evaluation [--device cpu] [--output docs/benchmarks/evaluation_cpu.json]

For each model and precision it prints the median over rounds of (time of the default) / (time of the variant) for one
forward of a fixed batch. Above 1, the variant is faster. Both are measured in turn. Compilation itself (seconds to
minutes) is not counted.
"""

import time

import torch
import torchvision
from tabulate import tabulate
from torch import Tensor, nn

from benchmarks.timing import arguments, ratio, take_turns, wait, write_figures
from dmaelab.modeling import ViT
from dmaelab.rules.precision import precision_rule
from dmaelab.smoothing.arithmetic import Arithmetic, fixed_kernels
from dmaelab.utils.cli import run_main

VARIANTS = {"channels_last": {"channels_last": True}, "compile": {"compile": True}}


def vit(size: int, patch: int, channels: int, width: int, depth: int, heads: int) -> nn.Module:
    """Return a ViT backbone, without a head."""
    return ViT(width, depth, heads, image_size=size, patch_size=patch, in_channels=channels)


# name: model, image shape, rows on a CPU, rows on a GPU
MODELS = {
    "digits ViT": (lambda: vit(8, 2, 1, 64, 3, 2), (1, 8, 8), 1000, 20_000),
    "CIFAR ViT": (lambda: vit(32, 4, 3, 128, 4, 4), (3, 32, 32), 100, 5000),
    "ViT-B": (lambda: vit(224, 16, 3, 768, 12, 12), (3, 224, 224), 2, 512),
    "ResNet-18": (lambda: torchvision.models.resnet18(), (3, 64, 64), 16, 2000),
    "ResNet-50": (lambda: torchvision.models.resnet50(), (3, 224, 224), 2, 512),
}


def seconds(model: nn.Module, images: Tensor, arithmetic: Arithmetic) -> float:
    """Return the time of one forward."""
    started = time.perf_counter()
    with torch.no_grad(), arithmetic.autocast(images.device):
        model(images)
    wait(images.device)
    return time.perf_counter() - started


def compare(name: str, precision: str, variant: str, device: torch.device, rounds: int) -> float:
    """Return the median ratio default / variant."""
    make, shape, rows_cpu, rows_gpu = MODELS[name]
    pairs = {}
    for kind, options in (("default", {"channels_last": False, "compile": False}), ("variant", VARIANTS[variant])):
        torch.manual_seed(0)
        arithmetic = Arithmetic(precision, **options).resolved(device)
        images = arithmetic.images(rows_gpu if device.type == "cuda" else rows_cpu, shape, device)
        pairs[kind] = arithmetic.prepare(make().to(device)), images.normal_(), arithmetic
    with fixed_kernels(device):
        work = {kind: lambda pair=pair: seconds(*pair) for kind, pair in pairs.items()}
        return ratio(take_turns(work, rounds), "default", "variant")  # the round that warms up compiles


def main() -> None:
    """Measure all models and print the table."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--precisions", nargs="+", help="default: fp32, and bf16 if the device supports it")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args()
    device, records = torch.device(args.device), []
    precisions = args.precisions or sorted({"fp32", precision_rule(device.type)})
    for name in args.models:
        for precision in precisions:
            ratios = {variant: round(compare(name, precision, variant, device, args.rounds), 2) for variant in VARIANTS}
            records.append({"model": name, "precision": precision, **ratios})
    print("time of the default / time of the variant (above 1: the variant is faster)")
    print(tabulate(records, headers="keys", tablefmt="pipe"))
    write_figures(args.output, device, records=records)


if __name__ == "__main__":
    run_main(main)
