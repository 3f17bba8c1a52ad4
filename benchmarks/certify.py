"""Speed of certification compared with a plain loop of Cohen et al. (2019), and with forwards alone.

    python -m benchmarks.certify [--device cpu] [--precision auto] [--output docs/benchmarks/certify_cpu.json]

"Engine" is the certification code of this package; a row is one noisy image.

1. ViT-B at 224x224, fixed n: rows/s of the engine divided by those of a plain loop with the same weights, batch and
   attention. The plain loop takes one image at a time, draws noise with ``randn_like`` and reads the counts after every
   batch; it runs eagerly in fp32 on a CPU, and under fp16 autocast on a GPU. For comparison the ratio of the matmul
   rates in the two precisions is printed.
2. Overhead: the time that the engine adds to forwards and noise, divided by the time of the same forwards with the same
   noise; and the share of the noise in that time. The added time is measured with a network that costs nothing, because
   it would be lost in the jitter of real forwards. The direct ratio of the two times is printed as well.
3. Small models: rows/s of the engine divided by those of forwards alone, on a batch that is prepared beforehand.

Alternatives are measured in turn, and ratios are medians over rounds.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterable
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn

from benchmarks.timing import arguments, clocked, matmul, ratio, take_turns, wait, write_figures
from dmaelab.certifiers import Certifier, Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.modeling import Classifier, ViT
from dmaelab.rules.attention import attention_rule
from dmaelab.smoothing import Smoothing, certify_images
from dmaelab.smoothing.arithmetic import FP32, Arithmetic, fixed_kernels
from dmaelab.smoothing.noise import Address, NoisyImage
from dmaelab.utils.cli import run_main

SIGMA, N0, ALPHA = 0.25, 8, 0.001
# name: image size, patch, channels, width, depth, heads
BASE = (224, 16, 3, 768, 12, 12)
SMALL = {
    "digits ViT (17 tokens, 64 wide, 3 deep)": (8, 2, 1, 64, 3, 2),
    "CIFAR ViT (65 tokens, 128 wide, 4 deep)": (32, 4, 3, 128, 4, 4),
}


def build(shape: tuple[int, ...], device: torch.device) -> Classifier:
    """Return a classifier with random weights, and the attention kernel that the rule chooses for the device."""
    size, patch, channels, width, depth, heads = shape
    torch.manual_seed(0)
    with device:  # large models take seconds to initialise on one core
        backbone = ViT(
            width, depth, heads, size, patch, channels, attention=attention_rule(device.type, training=False)
        )
        return Classifier(backbone, 10, [0.5] * channels, [0.25] * channels).eval().to(device)


def pictures(shape: tuple[int, ...], count: int) -> Tensor:
    """Return ``count`` grey noise images [N,C,H,W] in [0,1]."""
    return torch.rand(count, shape[2], shape[0], shape[0], generator=torch.Generator().manual_seed(0))


def plain_loop(model: nn.Module, images: Iterable[Tensor], n: int, batch: int, device: torch.device) -> None:
    """Run CERTIFY as it is commonly written: n0 and then n noisy copies of each image, counted on the host."""
    arithmetic = Arithmetic("fp16") if device.type == "cuda" else FP32
    with torch.no_grad(), fixed_kernels(device):
        for image in images:
            for total in (N0, n):
                counts = torch.zeros(10, dtype=torch.int64)
                for start in range(0, total, batch):
                    rows = image.to(device).repeat(min(batch, total - start), 1, 1, 1)
                    with arithmetic.autocast(device):
                        votes = model(rows + SIGMA * torch.randn_like(rows)).argmax(1)
                    counts += torch.bincount(votes, minlength=10).cpu()


def engine(model: nn.Module, images: Tensor, certifier: Certifier, batch: int, arithmetic: Arithmetic) -> None:
    """Do the same work with the package, with a log in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        smoothing = Smoothing(model, Gaussian(SIGMA), 10, arithmetic=arithmetic, batch_size=batch)
        certify_images(
            smoothing, lambda index: (images[index], 0), range(len(images)), certifier, out=folder,
            progress=False,
        )  # fmt: skip


def forwards(
    model: nn.Module, images: Tensor, n: int, batch: int, arithmetic: Arithmetic, device: torch.device, noise: bool
) -> None:
    """Run as many full batches as the engine, with its noise or on a prepared batch, without counting votes."""
    rows, buffer = len(images) * (n + N0), torch.rand(batch, *images.shape[1:], device=device)
    corruption = Gaussian(SIGMA)
    with torch.no_grad(), fixed_kernels(device):
        image, place = NoisyImage(images[0], corruption, Address(0, "call", 0), device), 0
        for _ in range(-(-rows // batch)):
            if noise:
                place = _fill(buffer, image, place)
            with arithmetic.autocast(device):
                model(buffer)
        wait(device)


def noise_alone(images: Tensor, n: int, batch: int, device: torch.device) -> None:
    """Make the noise of these batches without the forwards."""
    buffer, place = torch.empty(batch, *images.shape[1:], device=device), 0
    image = NoisyImage(images[0], Gaussian(SIGMA), Address(0, "call", 0), device)
    for _ in range(-(-len(images) * (n + N0) // batch)):
        place = _fill(buffer, image, place)
    wait(device)


class Instant(nn.Module):
    """A network that costs nothing: the same logits for every batch of one size."""

    def __init__(self, batch: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(batch, 10, device=device))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N,10]."""
        return self.logits


def own_cost(shape: tuple[int, ...], batch: int, rows: int, device: torch.device, rounds: int) -> float:
    """Return seconds per row that the engine adds to noise and forwards: logs, counting, copies, decisions."""
    images, nothing = pictures(shape, 2), Instant(batch, device)
    n = rows // 2
    work = {
        "engine": lambda: engine(nothing, images, Cohen(N0, n, ALPHA), batch, FP32),
        "noise": lambda: noise_alone(images, n, batch, device),
    }
    spent = take_turns(clocked(work), rounds)
    return statistics.median(a - b for a, b in zip(spent["engine"], spent["noise"], strict=True)) / (2 * (n + N0))


def _fill(buffer: Tensor, image: NoisyImage, place: int) -> int:
    used = 0
    while used < len(buffer):
        samples = image.samples("estimation", place, len(buffer) - used)
        buffer[used : used + len(samples)] = samples
        used, place = used + len(samples), place + len(samples)
    return place


def matmul_ratio(device: torch.device, precision: str, rounds: int) -> float:
    """Return the rate of a large matmul in ``precision``, divided by that in the precision of the plain loop."""
    size = 8192 if device.type == "cuda" else 1536
    precisions = {"plain": "fp16" if device.type == "cuda" else "fp32", "engine": precision}
    work = {name: matmul(device, own, size) for name, own in precisions.items()}
    with fixed_kernels(device):
        return ratio(take_turns(clocked(work), rounds), "plain", "engine")


def measure_base(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Parts 1 and 2, on ViT-B."""
    model, images = build(BASE, device), pictures(BASE, args.images)
    arithmetic = Arithmetic(args.precision).resolved(device)
    forward = arithmetic.prepare(model)
    work = {
        "plain loop": lambda: plain_loop(model, images, args.n, args.batch, device),
        "engine": lambda: engine(forward, images, Cohen(N0, args.n, ALPHA), args.batch, arithmetic),
        "forwards with the noise": lambda: forwards(
            forward, images, args.n, args.batch, arithmetic, device, noise=True
        ),
        "noise": lambda: noise_alone(images, args.n, args.batch, device),
    }
    spent = take_turns(clocked(work), args.rounds)
    rows = args.images * (args.n + N0)
    own = (
        own_cost(BASE, args.batch, 50 * args.batch, device, 5)
        * rows
        / statistics.median(spent["forwards with the noise"])
    )
    return {
        "precision": args.precision,
        "rows": rows,
        "batch": args.batch,
        "attention": attention_rule(device.type, training=False),
        "rows/s": {name: round(rows / statistics.median(times), 2) for name, times in spent.items()},
        "engine over plain loop": round(ratio(spent, "plain loop", "engine"), 3),
        f"matmul rate, {args.precision} over the plain loop's": round(matmul_ratio(device, args.precision, 5), 3),
        "overhead": round(own, 5),
        "engine over the same forwards with the same noise": round(
            ratio(spent, "engine", "forwards with the noise"), 3
        ),
        "share of the noise": round(ratio(spent, "noise", "forwards with the noise"), 4),
    }


def measure_small(shape: tuple[int, ...], args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Part 3, on one small model, in fp32."""
    model, images, batch, n = build(shape, device), pictures(shape, 4), 1000, args.small_n
    work = {
        "engine": lambda: engine(model, images, Cohen(N0, n, ALPHA), batch, FP32.resolved(device)),
        "bare forwards": lambda: forwards(model, images, n, batch, FP32, device, noise=False),
        "noise": lambda: noise_alone(images, n, batch, device),
    }
    spent = take_turns(clocked(work), args.rounds)
    rows = 4 * (n + N0)
    return {
        **{
            f"{name}, rows/s": round(rows / statistics.median(times))
            for name, times in spent.items()
            if name != "noise"
        },
        "engine over bare forwards": round(ratio(spent, "bare forwards", "engine"), 3),
        "noise over bare forwards": round(ratio(spent, "noise", "bare forwards"), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="precision of the engine in parts 1 and 2",
    )
    parser.add_argument("--batch", type=int, help="batch size (default: 16 on a CPU, 512 on a GPU)")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument(
        "--n", type=int, help="samples per image in parts 1 and 2 (default: 56 on a CPU, 20,000 on a GPU)"
    )
    args = parser.parse_args()
    device = torch.device(args.device)
    on_gpu = device.type == "cuda"
    args.precision = Arithmetic(args.precision).resolved(device).precision
    args.batch, args.n, args.small_n = (
        args.batch or (512 if on_gpu else 16),
        args.n or (20_000 if on_gpu else 56),
        200_000 if on_gpu else 5000,
    )
    record = {"ViT-B, 224x224": measure_base(args, device)}
    for name, shape in SMALL.items():
        record[name] = measure_small(shape, args, device)
    for name, figures in record.items():
        print(name)
        print(tabulate([[key, value] for key, value in figures.items()], tablefmt="plain"), end="\n\n")
    write_figures(args.output, device, record=record)


if __name__ == "__main__":
    run_main(main)
