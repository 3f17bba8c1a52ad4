"""Phase 3: images per second in training, compared with the official loop; memory, and the share of the peak."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.compilers import no_compiler
from benchmarks.gpu.peak import forward_flops, matmul_peaks
from benchmarks.gpu.record import Figures, Record
from benchmarks.timing import Run, clocked, ratio, take_turns
from benchmarks.training import Build, Variant, finetuning, our_loop, pictures, plain_loop, pretraining
from dmaelab.corruptions import Gaussian
from dmaelab.data import Samples, make_batch
from dmaelab.modeling import MAEDecoder
from dmaelab.rules.attention import attention_rule
from dmaelab.rules.precision import precision_rule
from dmaelab.utils.random import Draw


@dataclass(frozen=True)
class Task:
    """A training: a function that builds its model, images of a step, image size, and steps of a turn."""

    build: Build
    batch: int
    side: int = 224
    steps: int = 8


TASKS = {
    "DMAE pre-training, ViT-B": Task(partial(pretraining, name="vit_base"), 256),
    "CR fine-tuning, ViT-B": Task(partial(finetuning, name="vit_base"), 128),
    "DMAE pre-training, ViT-L": Task(partial(pretraining, name="vit_large"), 256),
    "CR fine-tuning, ViT-L": Task(partial(finetuning, name="vit_large"), 64),
}
_VIT: dict[str, Any] = {"name": "vit", "width": 32, "depth": 2, "num_heads": 2, "image_size": 16, "patch_size": 4}
_DECODER = partial(MAEDecoder, width=32, depth=1, num_heads=2)
TINY = {
    "DMAE pre-training, tiny": Task(partial(pretraining, decoder=_DECODER, **_VIT), batch=4, side=16, steps=1),
    "CR fine-tuning, tiny": Task(partial(finetuning, **_VIT), batch=4, side=16, steps=1),
}


def run(record: Record) -> None:
    """Compare all tasks with the official loop, then with compiled blocks."""
    peaks = matmul_peaks(record)
    tasks = TINY if record.tiny else TASKS
    for name, task in tasks.items():
        work = partial(compare, task, ("reference's loop", "ours"), record.device, peaks)
        record.measure(name, work, size=task.batch, needs=5)
    for name, task in tasks.items():
        if reason := no_compiler(record):
            record.skip(f"{name}, compiled", reason)
        else:
            work = partial(compare, task, ("ours", "compiled blocks"), record.device, peaks)
            record.measure(f"{name}, compiled", work, size=task.batch, needs=10, limit=90)


def loop(name: str, task: Task, samples: Samples, device: torch.device) -> Run:
    """Build the loop of that name; return a function that runs its next steps."""
    if name == "reference's loop":
        return plain_loop(task.build, samples, task.steps, device)
    ours = Variant(
        precision_rule(device.type), attention_rule(device.type, training=True), compiled=name == "compiled blocks"
    )
    return our_loop(task.build, ours, samples, task.steps, device)


def compare(task: Task, loops: Sequence[str], device: torch.device, peaks: Figures, batch: int) -> Figures:
    """Build the loops one after the other, then measure them in turn. Ratios are relative to the first one."""
    samples = pictures(batch, task.side, device)
    figures: Figures = {name: {} for name in loops}
    built: dict[str, Run] = {}
    for name in loops:
        started, before = time.perf_counter(), _memory(device)
        built[name] = loop(name, task, samples, device)
        built[name]()
        figures[name]["seconds to start"] = time.perf_counter() - started
        if device.type == "cuda":
            figures[name]["peak memory, GiB"] = (torch.cuda.max_memory_allocated(device) - before) / 2**30
    spent, first = take_turns(clocked(built), rounds=2, warm_up=0), loops[0]
    operations = 3 * training_flops(task, device)  # a backward costs two forwards
    for name, times in spent.items():
        rate = task.steps * batch / statistics.median(times)
        figures[name] |= {"batch": batch, "images/s": rate, f"over {first}": ratio(spent, first, name)}
        if peak := peaks.get("fp16" if name == "reference's loop" else "bf16"):
            figures[name]["share of the matmul peak"] = rate * operations / peak
    return figures


def training_flops(task: Task, device: torch.device) -> float:
    """Return the operations per image of the forward of a training step."""
    with device:
        model = task.build(Gaussian(0.25), "matmul").to(device)
    batch = make_batch(pictures(2, task.side, device), device, Draw(0, "train", 0, device=device), progress=0.0)
    return forward_flops(lambda: model(batch)) / 2


def _memory(device: torch.device) -> int:
    """Return the bytes in use, and reset the peak."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)
