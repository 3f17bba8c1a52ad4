"""Forward of an encoder under bf16 autocast with the residual stream in bf16 (as in dmaelab) and in fp32.

    python -m benchmarks.residual_stream [--device cpu] [--shape digits]

It prints the median over rounds of (time with fp32) / (time with bf16). Above 1, bf16 is faster.
"""

import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.timing import arguments, ratio, take_turns, wait, write_figures
from dmaelab.modeling import ViT
from dmaelab.utils.cli import run_main
from dmaelab.utils.precision import autocast

DIGITS = {"width": 64, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0, "image_size": 8, "patch_size": 2, "in_channels": 1}
BASE = {"width": 768, "depth": 12, "num_heads": 12}
# name: options of the ViT, rows of a forward on a CPU and on a GPU
SHAPES: dict[str, tuple[dict[str, Any], int, int]] = {"digits": (DIGITS, 1000, 20_000), "base": (BASE, 2, 256)}


class FP32Residual(ViT):
    """The alternative: the embedding returns fp32 tokens, so that every residual sum is in fp32."""

    def embed(self, images: Tensor) -> Tensor:
        """Return fp32 tokens [N,L,D] of normalised images [N,C,H,W]."""
        return super().embed(images).float()


def seconds(model: ViT, images: Tensor) -> float:
    """Return the time of five forwards."""
    with torch.no_grad(), autocast("bf16", images.device.type):
        wait(images.device)
        started = time.perf_counter()
        for _ in range(5):
            model(images)
        wait(images.device)
    return time.perf_counter() - started


def compare(shape: tuple[dict[str, Any], int, int], device: torch.device, rounds: int) -> float:
    """Return the median ratio fp32 / bf16."""
    options, *rows = shape
    models = {"bf16": ViT(**options).to(device), "fp32": FP32Residual(**options).to(device)}
    side = models["bf16"].input_size
    images = torch.randn(rows[device.type == "cuda"], models["bf16"].in_channels, side, side, device=device)
    work = {stream: lambda model=model: seconds(model, images) for stream, model in models.items()}
    return ratio(take_turns(work, rounds), "fp32", "bf16")


def main() -> None:
    """Measure and print the ratio."""
    parser = arguments(__doc__, rounds=15)
    parser.add_argument("--shape", choices=list(SHAPES), default="digits")
    args = parser.parse_args()
    found = compare(SHAPES[args.shape], torch.device(args.device), args.rounds)
    print(f"time with fp32 / time with bf16, median of {args.rounds} rounds: {found:.2f}")
    write_figures(args.output, args.device, shape=args.shape, ratio=found)


if __name__ == "__main__":
    run_main(main)
