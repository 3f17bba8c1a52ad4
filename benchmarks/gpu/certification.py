"""Phase 2: noisy images per second in certification, compared with the official loop and with the device's peak."""

import math
import statistics
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.certify import ALPHA, N0, build, engine, noise_alone, pictures, plain_loop
from benchmarks.gpu.compilers import no_compiler
from benchmarks.gpu.peak import forward_flops, matmul_peaks
from benchmarks.gpu.record import Figures, Record
from dmaelab.certifiers import Case, Certificate, Cohen, Votes
from dmaelab.modeling import Classifier, build_backbone
from dmaelab.modeling.attention import Attention
from dmaelab.smoothing.arithmetic import Arithmetic

Turn = Callable[[int, int], float]
"""(Rows of a batch, batches of an image) -> rows/s, without the start-up."""


@dataclass(frozen=True)
class Subject:
    """A network to certify: a function that builds it on a device, (C, H, W) of its images, and the batch size."""

    make: Callable[[torch.device], nn.Module]
    shape: tuple[int, int, int]
    batch: int


def resnet(depth: int, device: torch.device) -> Classifier:
    """Return the residual network for CIFAR-10."""
    return Classifier(build_backbone("resnet_cifar", depth=depth), 10, [0.5] * 3, [0.25] * 3).eval().to(device)


SUBJECTS = {
    "ViT-B, 224x224": Subject(partial(build, (224, 16, 3, 768, 12, 12)), (3, 224, 224), 512),
    "ViT-L, 224x224": Subject(partial(build, (224, 16, 3, 1024, 24, 16)), (3, 224, 224), 512),
    "ViT-tiny, 32x32, patch 4": Subject(partial(build, (32, 4, 3, 192, 12, 3)), (3, 32, 32), 2000),
    "ResNet-110, 32x32": Subject(partial(resnet, 110), (3, 32, 32), 2000),
}
TINY = {
    "ViT, 8x8": Subject(partial(build, (8, 2, 3, 32, 2, 2)), (3, 8, 8), 16),
    "ResNet-8, 8x8": Subject(partial(resnet, 8), (3, 8, 8), 16),
}

EAGER: dict[str, Any] = {"compile": False, "cuda_graph": False}
BF16: dict[str, Any] = {"precision": "bf16", **EAGER}
# Variant -> options of Arithmetic, or None for the official loop. Ratios are relative to the first variant.
PLAIN: dict[str, dict[str, Any] | None] = {
    "reference's loop": None,
    "bf16": BF16,
    "fp16": {**EAGER, "precision": "fp16"},
    "bf16, CUDA graph": {**BF16, "cuda_graph": True},
}
COMPILED: dict[str, dict[str, Any] | None] = {
    "bf16": BF16,
    "bf16, compiled blocks": {**BF16, "compile": "blocks"},
    "bf16, compiled blocks, CUDA graph": {**BF16, "compile": "blocks", "cuda_graph": True},
}


def run(record: Record) -> None:
    """Measure the variants without a compiler on all networks, then the compiled ones."""
    peaks = matmul_peaks(record)
    for subject in TINY.values():  # warm up: loads libraries and compiles the noise kernel, which belongs to no variant
        turn_of(BF16, subject, record.device)(subject.batch, 2)
    subjects = TINY if record.tiny else SUBJECTS
    for name, subject in subjects.items():
        compare(record, name, subject, PLAIN, peaks)
    for name, subject in subjects.items():
        if reason := no_compiler(record):
            record.skip(f"{name}, compiled", reason)
        else:
            compare(record, f"{name}, compiled", subject, COMPILED, peaks)


def compare(record: Record, name: str, subject: Subject, variants: dict[str, Any], peaks: Figures) -> None:
    """Start each variant once, which may fail; then measure the working ones in turn."""
    batch, turns = subject.batch, {}
    for variant, options in variants.items():
        if (options or {}).get("cuda_graph") and record.device.type != "cuda":
            record.skip(f"{name}, {variant}", "a CUDA graph needs a CUDA device")
            continue
        turn = turn_of(options, subject, record.device)
        figures = record.measure(f"{name}, start of {variant}", partial(start, turn), size=batch, needs=3, limit=60)
        if figures is not None:
            turns[variant], batch = turn, figures["batch"]
    if turns:
        record.measure(name, lambda: rates(record, subject, turns, batch, peaks), needs=5)


def turn_of(options: dict[str, Any] | None, subject: Subject, device: torch.device) -> Turn:
    """Return a function that measures one variant. It builds its own network at the first call."""
    make = cache(partial(subject.make, device))
    if options is None:
        plain = cache(lambda: plain_attention(make()))
        return lambda batch, batches: plain_turn(subject, plain(), batch, batches, device)
    return lambda batch, batches: our_turn(options, subject, make(), batch, batches)


def plain_attention(model: nn.Module) -> nn.Module:
    """Make a network compute attention by plain matrix products, as the official code does."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.attention = "matmul"
    return model


def start(turn: Turn, batch: int) -> Figures:
    """Return the seconds of the first few batches, in which kernels are chosen, compiled and recorded."""
    started = time.perf_counter()
    turn(batch, 2)
    return {"batch": batch, "seconds to start": time.perf_counter() - started}


def rates(record: Record, subject: Subject, turns: dict[str, Turn], batch: int, peaks: Figures) -> Figures:
    """Return rows/s of each variant, the ratio to the first one, and the share of the peak of its precision."""
    device, shape, first = record.device, subject.shape, next(iter(turns))
    batches = math.ceil((0.01 if record.tiny else 0.4) * turns[first](batch, 2) / batch)
    turns = {**turns, "noise": lambda batch, batches: noise_turn(shape, batch, batches, device)}
    found: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(2):
        started = time.perf_counter()
        for name, turn in turns.items():
            found[name].append(turn(batch, min(max(batches, 2), 400)))
        if record.left < 1.5 * (time.perf_counter() - started):
            break
    model, noise = subject.make(device), found.pop("noise")
    flops = forward_flops(lambda: model(torch.zeros(1, *shape, device=device)))
    rows: Figures = {}
    for name, own in found.items():
        rows[name] = {"rows/s": statistics.median(own), f"over {first}": _ratio(own, found[first]), "batch": batch}
        if peak := peaks.get("bf16" if "bf16" in name else "fp16"):
            rows[name]["share of the matmul peak"] = rows[name]["rows/s"] * flops / peak
        rows[name]["our noise, share of the time"] = _ratio(own, noise)
    return rows


def _ratio(own: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


class Stopwatch(Cohen):
    """Cohen's certifier, which also records the time at which the votes of an image are complete."""

    def __init__(self, n: int) -> None:
        super().__init__(N0, n, ALPHA)
        self._done: list[float] = []

    def certify(self, case: Case) -> Generator[Votes, np.ndarray, Certificate]:
        """Certify, and record the time at the end."""
        certificate = yield from super().certify(case)
        self._done.append(time.perf_counter())
        return certificate


def our_turn(options: dict[str, Any], subject: Subject, model: nn.Module, batch: int, batches: int) -> float:
    """Return rows/s of ``certify_images``, from the end of the first of three images to the end of the second.

    At both times the first batches of the following image, its selection included, have already been sent. These
    cancel, so that n rows lie between the two times. The weights are not hashed: this is not part of the rate, and
    takes seconds for a large network.
    """
    certifier = Stopwatch(batch * batches)
    with patch("dmaelab.smoothing.identity.weights_hash", return_value="not hashed"):
        engine(model, _images(subject.shape, 3), certifier, batch, Arithmetic(**options))
    first, second, _ = certifier._done
    return certifier.n / (second - first)


def plain_turn(subject: Subject, model: nn.Module, batch: int, batches: int, device: torch.device) -> float:
    """Return rows/s of the official loop, which is that of Cohen et al. (2019) under fp16 autocast."""
    times: list[float] = []

    def noted() -> Iterator[Tensor]:
        for image in _images(subject.shape, 2):
            times.append(time.perf_counter())
            yield image

    plain_loop(model, noted(), batch * batches, batch, device)
    return (N0 + batch * batches) / (time.perf_counter() - times[1])


def noise_turn(shape: tuple[int, int, int], batch: int, batches: int, device: torch.device) -> float:
    """Return rows/s of the noise alone, without a forward."""
    images, n = torch.rand(1, *shape), batch * batches
    started = time.perf_counter()
    noise_alone(images, n, batch, device)
    return (N0 + n) / (time.perf_counter() - started)


def _images(shape: tuple[int, int, int], count: int) -> Tensor:
    channels, side, _ = shape
    return pictures((side, 0, channels), count)
