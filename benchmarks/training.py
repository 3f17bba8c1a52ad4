"""Speed of training ViT-B at 224x224: our Trainer compared with a plain eager loop on the same model.

    python -m benchmarks.training [--device cpu] [--variants] [--output docs/benchmarks/training_cpu_fp32.json]

The tasks are DMAE pre-training (75 % of the patches masked) and CR fine-tuning (two noisy copies of each image), on
random images in memory, so that no loader is measured.

The plain loop is the common one: ``randn_like`` noise, attention by plain products, AdamW with torch's defaults, and
the loss read with ``.item()`` at every step. On a CPU it runs in fp32. On a GPU it does as the official code: fp16
autocast with a GradScaler, and a synchronisation at every step. Our loop is the one of ``tools/train_net.py``: noise
from a ``Draw``, precision and attention from the rules of the device, fused AdamW, schedule and NaN guard.

``--variants`` also measures our loop with one change at a time: precision, attention, optimizer, compiled blocks. All
are measured in turn, and ratios are medians over rounds. With ``--threads 1`` on a CPU, processor time is measured,
which other processes disturb little; otherwise wall-clock time.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn

from benchmarks.timing import Run, arguments, clocked, ratio, take_turns, wait, write_figures
from dmaelab.corruptions import Corruption, Gaussian
from dmaelab.data import Samples, make_batch
from dmaelab.engine import Trainer
from dmaelab.engine.hooks import NaNGuard, ScheduleHook
from dmaelab.losses import CR, MSEAllPatches
from dmaelab.modeling import Classifier, DenoisingMAE, MAEDecoder, NoisyClassifier, build_backbone
from dmaelab.rules.attention import attention_rule
from dmaelab.rules.compilation import compile_blocks
from dmaelab.rules.precision import precision_rule
from dmaelab.solver import build_adamw, param_groups, warmup_cosine
from dmaelab.utils.cli import run_main
from dmaelab.utils.random import Draw

PIXELS = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LR = 1e-4


class PlainGaussian(Gaussian):
    """Gaussian noise drawn in the common way, from the global generator of the device."""

    def apply(self, images: Tensor, sigma: Tensor, draw: Draw) -> Tensor:
        """Return ``images + sigma * N(0, 1)``."""
        return images + sigma.view(-1, 1, 1, 1) * torch.randn_like(images)


def pretraining(corruption: Corruption, attention: str, decoder: Any = MAEDecoder, **backbone: Any) -> nn.Module:
    """Return the DMAE autoencoder with the encoder named ``backbone``, 8 decoder blocks and mask ratio 0.75."""
    encoder = build_backbone(**backbone, pool=None, attention=attention)
    return DenoisingMAE(encoder, decoder, corruption, MSEAllPatches(), *PIXELS)


def finetuning(corruption: Corruption, attention: str, **backbone: Any) -> nn.Module:
    """Return a classifier with 1000 classes and the CR loss with two noisy copies."""
    network = build_backbone(**backbone, drop_path=0.1, attention=attention)
    return NoisyClassifier(Classifier(network, 1000, *PIXELS), corruption, CR(copies=2))


Build = Callable[[Corruption, str], nn.Module]
TASKS: dict[str, Build] = {
    "DMAE pre-training": partial(pretraining, name="vit_base"),
    "CR fine-tuning": partial(finetuning, name="vit_base"),
}


@dataclass(frozen=True)
class Variant:
    """The options of our own loop."""

    precision: str
    attention: str
    fused: bool = True
    compiled: bool = False


def variants(ours: Variant, device: torch.device) -> dict[str, Variant]:
    """Return the variants of our loop, with one change each."""
    changed = {
        "with the other attention": replace(ours, attention="matmul" if ours.attention == "sdpa" else "sdpa"),
        "with AdamW not fused": replace(ours, fused=False),
        "with compiled blocks": replace(ours, compiled=True),
    }
    if device.type == "cuda" or precision_rule("cpu") == "bf16":  # not on a CPU that emulates bf16, which is slow
        other = "fp32" if ours.precision == "bf16" else "bf16"
        changed[f"in {other}"] = replace(ours, precision=other)
    return changed


def our_loop(build: Build, variant: Variant, samples: Samples, steps: int, device: torch.device) -> Run:
    """Return a function that runs the next ``steps`` steps of our Trainer."""
    torch.manual_seed(0)
    with device:  # large models take seconds to initialise on one core
        model = build(Gaussian(0.25), variant.attention).to(device)
    if variant.compiled:
        compile_blocks(model)
    optimizer = build_adamw(model, LR) if variant.fused else torch.optim.AdamW(param_groups(model, 0.05), lr=LR)
    trainer = Trainer(
        model, optimizer, itertools.repeat(samples), max_iter=0, device=device, precision=variant.precision
    )
    trainer.register_hooks([ScheduleHook(warmup_cosine()), NaNGuard(50)])

    def run() -> None:
        trainer.max_iter = trainer.step + steps
        trainer.train()
        wait(device)

    return run


def plain_loop(build: Build, samples: Samples, steps: int, device: torch.device) -> Run:
    """Return a function that runs the next ``steps`` steps of a plain loop."""
    torch.manual_seed(0)
    with device:
        model = build(PlainGaussian(0.25), "matmul").to(device).train()
    optimizer = torch.optim.AdamW(param_groups(model, 0.05), lr=LR)
    on_gpu = device.type == "cuda"
    scaler = torch.amp.GradScaler("cuda", enabled=on_gpu)
    numbers = itertools.count()

    def run() -> None:
        for _ in range(steps):
            batch = make_batch(samples, device, Draw(0, "train", next(numbers), device=device), progress=0.0)
            with torch.autocast(device.type, torch.float16, enabled=on_gpu):
                loss = sum(model(batch).values())
            if not math.isfinite(loss.item()):
                raise RuntimeError("the loss is not finite")
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            wait(device)

    return run


def pictures(count: int, side: int, device: torch.device) -> Samples:
    """Return random square images with labels of 1000 classes; for a GPU in pinned memory, as from a loader."""
    images = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    samples = Samples(images, torch.arange(count) % 1000, torch.arange(count))
    return Samples(*(tensor.pin_memory() for tensor in samples)) if device.type == "cuda" else samples


def measure(build: Build, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Return rates and ratios of one task."""
    samples = pictures(args.batch, 224, device)
    ours = Variant(precision_rule(device.type), attention_rule(device.type, training=True))
    loops = {
        "plain loop": plain_loop(build, samples, args.steps, device),
        "ours": our_loop(build, ours, samples, args.steps, device),
    }
    spent = take_turns(clocked(loops, args.clock), args.rounds)
    record: dict[str, Any] = {
        "precision": ours.precision,
        "attention": ours.attention,
        "batch": args.batch,
        "steps/s": {name: round(args.steps / statistics.median(times), 4) for name, times in spent.items()},
        "ours over plain loop": round(ratio(spent, "plain loop", "ours"), 3),
    }
    for name, variant in variants(ours, device).items() if args.variants else ():
        work = {
            "ours": our_loop(build, ours, samples, args.steps, device),
            name: our_loop(build, variant, samples, args.steps, device),
        }
        record[f"{name}, over ours"] = round(ratio(take_turns(clocked(work, args.clock), args.rounds), "ours", name), 3)
    return record


def main() -> None:
    """Measure both tasks and print."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, help="images per step (default: 8 on a CPU, 128 on a GPU)")
    parser.add_argument("--steps", type=int, help="steps per turn (default: 1 on a CPU, 20 on a GPU)")
    parser.add_argument("--threads", type=int, help="threads of torch on a CPU (default: torch's own choice)")
    parser.add_argument("--variants", action="store_true", help="also measure our loop with one change at a time")
    args = parser.parse_args()
    device = torch.device(args.device)
    on_gpu = device.type == "cuda"
    args.batch, args.steps = args.batch or (128 if on_gpu else 8), args.steps or (20 if on_gpu else 1)
    if args.threads:
        torch.set_num_threads(args.threads)
    args.clock = time.process_time if args.threads == 1 and not on_gpu else time.perf_counter
    name = torch.cuda.get_device_name(device) if on_gpu else "cpu"
    record = {task: measure(build, args, device) for task, build in TASKS.items()}
    for task, figures in record.items():
        print(f"{task}, ViT-B, 224x224 (above 1: faster)")
        print(tabulate([[key, value] for key, value in figures.items()], tablefmt="plain"), end="\n\n")
    write_figures(args.output, name, clock=args.clock.__name__, record=record)


if __name__ == "__main__":
    run_main(main)
