"""Phase 4: the choices of ``dmaelab/rules``, each compared with its alternative."""

import math
import time
from functools import partial

import torch

from benchmarks import attention, evaluation, residual_stream
from benchmarks.gpu.record import Figures, Record
from benchmarks.timing import Seconds, ratio, take_turns, wait
from benchmarks.training import LR
from dmaelab.modeling import build_backbone
from dmaelab.rules.precision import precision_rule
from dmaelab.solver import param_groups

EQUAL = 1.03
"""A smaller ratio counts as no difference."""
OPTIMIZERS = ("fused", "foreach")

TINY_ATTENTION = {"tiny (17 tokens, 32 wide)": (8, 2, 1, 32, 2, 2, 16, 16)}
TINY_STREAM = {"tiny": (residual_stream.DIGITS, 16, 16)}


def run(record: Record) -> None:
    """Measure the rules one by one. A ratio above 1 means that the first alternative is faster."""
    device, rounds, precision = record.device, 1 if record.tiny else 7, precision_rule(record.device.type)
    for name, shape in (TINY_ATTENTION if record.tiny else attention.SHAPES).items():
        for kind, backward in (("forward", False), ("forward and backward", True)):
            work = partial(attention.compare, shape, precision, backward, device, rounds)
            record.measure(f"attention, {kind}, {name}", lambda work=work: verdict(work(), "sdpa", "matmul"))
    for name in list(evaluation.MODELS)[: 1 if record.tiny else None]:
        work = partial(evaluation.compare, name, precision, "channels_last", device, rounds)
        record.measure(f"memory format, {name}", lambda work=work: verdict(work(), "channels-last", "contiguous"))
    for name, stream in (TINY_STREAM if record.tiny else residual_stream.SHAPES).items():
        work = partial(residual_stream.compare, stream, device, rounds)
        record.measure(f"residual stream, {name}", lambda work=work: verdict(work(), "bf16", "fp32"))
    for name in ("vit_tiny",) if record.tiny else ("vit_base", "vit_large"):
        work = partial(optimizers, name, device, rounds)
        record.measure(f"AdamW, {name}", lambda work=work: verdict(work(), *OPTIMIZERS))


def verdict(faster: float, one: str, other: str) -> Figures:
    """Return the ratio (time of ``other``) / (time of ``one``), and a sentence that says which one is faster."""
    if abs(math.log(faster)) < math.log(EQUAL):
        return {"ratio": faster, "verdict": f"{one} and {other} are equally fast"}
    winner, by = (one, faster) if faster > 1 else (other, 1 / faster)
    return {"ratio": faster, "verdict": f"{winner} is faster by {by:.2f}x"}


def optimizers(name: str, device: torch.device, rounds: int) -> float:
    """Return the median ratio (time of a foreach AdamW step) / (time of a fused one), on a backbone's parameters."""
    work: dict[str, Seconds] = {}
    for kind in OPTIMIZERS:
        with device:
            model = build_backbone(name).to(device)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        optimizer = torch.optim.AdamW(param_groups(model, 0.05), lr=LR, **{kind: True})
        work[kind] = partial(_steps, optimizer, device)
    return ratio(take_turns(work, rounds), "foreach", "fused")


def _steps(optimizer: torch.optim.Optimizer, device: torch.device) -> float:
    wait(device)
    started = time.perf_counter()
    for _ in range(3):
        optimizer.step()
    wait(device)
    return time.perf_counter() - started
