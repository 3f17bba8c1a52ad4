"""CPU settings (allocator, wait policy, threads), and certification compared with a plain loop and with a matmul.

    python -m benchmarks.processor [--load 2] [--only settings|certification] [--output \\
        docs/benchmarks/processor_cpu.json]

1. ``settings``: the evidence for the rules in dmaelab/rules/process.py. A ratio is the median over rounds of (time
   without settings, "as it comes") / (time with a setting). Above 1, the setting is faster. MiB is the peak memory.
2. ``certification``: rows/s of the code that ``tools/certify.py`` runs, divided by those of the plain loop of Cohen et
   al. (2019) without settings (``randn_like``, counts read after every batch, attention by plain products, fp32); and
   its rate as a share of the rate of a large square matmul.

Each setting is tested in its own process, because libgomp and glibc read their environment at the start. The processes
are measured in turn, so that all see the same load of the machine. ``--load N`` keeps N other processes busy, with one
thread each.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tabulate import tabulate

Seconds = Callable[[], float]
"""A piece of work that returns the seconds it took."""
Figures = dict[str, dict[str, dict[str, float]]]

MATMUL = 2048
"""Size of the square matrices whose product gives the peak rate."""
RETAIN = {"MALLOC_MMAP_THRESHOLD_": str(2**31 - 1), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
SETTINGS: dict[str, dict[str, str]] = {
    "as it comes": {},
    "memory kept": RETAIN,
    "memory kept, passive waiting": {**RETAIN, "OMP_WAIT_POLICY": "PASSIVE"},
    "memory kept, short spinning": {**RETAIN, "GOMP_SPINCOUNT": "1000"},
    "memory kept, one thread": {**RETAIN, "OMP_NUM_THREADS": "1"},
}
RULE = SETTINGS["memory kept, short spinning"]
"""The setting that dmaelab/rules/process.py chooses."""
_OURS = (
    "PYTHONSAFEPATH",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "OMP_NUM_THREADS",
)


def subject_of(name: str, batch: int) -> Any:
    """Return a network as certification uses it, and images for it."""
    from benchmarks.certify import BASE, SMALL, build
    from benchmarks.gpu.certification import Subject

    shape = {"ViT-B": BASE, **{label.split(" (")[0]: value for label, value in SMALL.items()}}[name]
    return Subject(partial(build, shape), (shape[2], shape[0], shape[0]), batch)


def forward(name: str, batch: int, repeats: int, precision: str = "fp32") -> Seconds:
    """Return the forward of certification: ``repeats`` batches through a classifier in evaluation mode."""
    import torch

    from dmaelab.smoothing.arithmetic import Arithmetic, fixed_kernels

    device, subject, arithmetic = torch.device("cpu"), subject_of(name, batch), Arithmetic(precision)
    model, images = subject.make(device), torch.rand(batch, *subject.shape)

    def run() -> None:
        with torch.no_grad(), fixed_kernels(device):
            for _ in range(repeats):
                with arithmetic.autocast(device):
                    model(images)

    return clocked(run)


def plain_loop(name: str, batch: int, batches: int) -> Seconds:
    """Return the loop of Cohen et al. on one image, as in the official code: attention by plain products."""
    import torch

    from benchmarks.gpu.certification import plain_attention, plain_turn

    subject = subject_of(name, batch)
    model = plain_attention(subject.make(torch.device("cpu")))
    return lambda: batch * batches / plain_turn(subject, model, batch, batches, torch.device("cpu"))


def package(name: str, batch: int, batches: int, precision: str) -> Seconds:
    """Return certification by the package, on one image with as many samples."""
    import torch

    from benchmarks.gpu.certification import our_turn

    subject = subject_of(name, batch)
    model = subject.make(torch.device("cpu"))
    return lambda: batch * batches / our_turn({"precision": precision}, subject, model, batch, batches)


def matmuls(precision: str) -> Seconds:
    """Return three products of 2048 x 2048 matrices: 3 * 2 * 2048^3 operations."""
    import torch

    from benchmarks.timing import matmul

    multiply = matmul(torch.device("cpu"), precision, MATMUL)

    def run() -> None:
        for _ in range(3):
            multiply()

    return clocked(run)


def clocked(run: Callable[[], None]) -> Seconds:
    """Return the work as a function that returns the seconds it took."""
    from benchmarks import timing

    return timing.clocked({"it": run})["it"]


def training(config: str, repeats: int, *overrides: str) -> Seconds:
    """Return steps of the training of a config, on generated images."""
    import itertools

    import torch

    from dmaelab.config import instantiate, open_config
    from dmaelab.data import Samples
    from dmaelab.engine import Trainer

    cfg = open_config(config, list(overrides))
    torch.manual_seed(0)
    model = instantiate(cfg.model)
    side, channels = {"digits": (8, 1), "cifar10": (32, 3), "imagenet": (224, 3)}[config.split("/")[0]]
    count = cfg.train.batch_size
    samples = Samples(
        torch.randint(256, (count, channels, side, side), dtype=torch.uint8),
        torch.arange(count) % 10,
        torch.arange(count),
    )
    trainer = Trainer(
        model,
        instantiate(cfg.optimizer, model=model),
        itertools.repeat(samples),
        max_iter=0,
        device=torch.device("cpu"),
    )

    def run() -> None:
        trainer.max_iter = trainer.step + repeats
        trainer.train()

    return clocked(run)


WORK: dict[str, Callable[[], Seconds]] = {
    "digits forward, batch 1000": lambda: forward("digits ViT", 1000, 10),
    "digits forward, batch 250": lambda: forward("digits ViT", 250, 40),
    "CIFAR ViT forward, batch 1000": lambda: forward("CIFAR ViT", 1000, 1),
    "CIFAR ViT forward, batch 250": lambda: forward("CIFAR ViT", 250, 4),
    "CIFAR ViT forward, batch 1000, bf16": lambda: forward("CIFAR ViT", 1000, 1, "bf16"),
    "ViT-B forward, batch 8": lambda: forward("ViT-B", 8, 2),
    "ViT-B forward, batch 32": lambda: forward("ViT-B", 32, 1),
    "digits pre-training, batch 256": lambda: training("digits/pretrain", 20),
    "digits CR, batch 128": lambda: training("digits/finetune_cr", 10),
    "CIFAR pre-training, batch 256": lambda: training("cifar10/pretrain", 2),
    "ViT-B pre-training, batch 4": lambda: training("imagenet/pretrain_base", 1, "train.batch_size=4"),
}
BATCHES = {"digits ViT": (1000, 10), "CIFAR ViT": (1000, 2), "ViT-B": (8, 4)}
"""Network -> (batch size, batches of a turn) in certification."""
for _name, _size in BATCHES.items():
    WORK[f"{_name}, plain loop"] = lambda name=_name, size=_size: plain_loop(name, *size)
    for _precision in ("fp32", "bf16"):
        WORK[f"{_name}, package, {_precision}"] = lambda name=_name, size=_size, kind=_precision: package(
            name, *size, kind
        )
for _precision in ("fp32", "bf16"):
    WORK[f"matmul, {_precision}"] = lambda kind=_precision: matmuls(kind)


class Worker:
    """A process with one setting, which does its work on request."""

    def __init__(self, work: str, setting: dict[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        command = [sys.executable, "-m", "benchmarks.processor", "--worker", work]
        self.process = subprocess.Popen(
            command, env={**kept, **setting}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.turn()  # warms up

    def turn(self) -> tuple[float, int]:
        """Return the seconds of one turn, and the peak of the process's memory in MiB."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, peak = self.process.stdout.readline().split()
        return float(seconds), int(peak)

    def end(self) -> None:
        """End the process."""
        self.process.communicate()


def serve(work: str) -> None:
    """Do the work once for each line of the standard input, and print the seconds and the peak memory."""
    run = WORK[work]()
    for _ in sys.stdin:
        seconds = run()
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)


def measure(tasks: dict[str, tuple[str, dict[str, str]]], rounds: int) -> dict[str, dict[str, float]]:
    """Return for each task (work, setting) its median seconds, (time of the first task) / (its time), and MiB."""
    workers = {name: Worker(*task) for name, task in tasks.items()}
    turns = [{name: worker.turn() for name, worker in workers.items()} for _ in range(rounds)]
    for worker in workers.values():
        worker.end()
    first = next(iter(tasks))
    return {
        name: {
            "seconds": round(statistics.median(turn[name][0] for turn in turns), 4),
            "ratio": round(statistics.median(turn[first][0] / turn[name][0] for turn in turns), 3),
            "MiB": turns[-1][name][1],
        }
        for name in tasks
    }


def settings(rounds: int, wanted: str) -> Figures:
    """Run part 1: all settings for each forward and training whose name contains ``wanted``."""
    record: Figures = {}
    for work in [name for name in WORK if "batch" in name and wanted in name]:
        record[work] = measure({name: (work, setting) for name, setting in SETTINGS.items()}, rounds)
        print(work, record[work], file=sys.stderr)
    print(
        tabulate(
            [[work, *(figures["ratio"] for figures in row.values())] for work, row in record.items()],
            ["work", *SETTINGS],
        )
    )
    return record


def flops_of(name: str) -> int:
    """Return the operations of one forward of one image."""
    import torch

    from benchmarks.gpu.peak import forward_flops

    subject = subject_of(name, 1)
    model = subject.make(torch.device("cpu"))
    return forward_flops(lambda: model(torch.zeros(1, *subject.shape)))


def certification(rounds: int, wanted: str) -> Figures:
    """Run part 2: compare the package with the plain loop and with a matmul in its precision."""
    from dmaelab.rules.precision import precision_rule

    record: Figures = {}
    precisions = sorted({"fp32", precision_rule("cpu")}, reverse=True)
    for name, (batch, batches) in BATCHES.items():
        if wanted not in name:
            continue
        flops = flops_of(name)
        tasks: dict[str, tuple[str, dict[str, str]]] = {"plain loop": (f"{name}, plain loop", {})}
        for precision in precisions:
            tasks[precision] = (f"{name}, package, {precision}", RULE)
            tasks[f"matmul, {precision}"] = (f"matmul, {precision}", RULE)
        row = measure(tasks, rounds)
        for kind, figures in row.items():
            if not kind.startswith("matmul"):
                peak = row[f"matmul, {precisions[0] if kind == 'plain loop' else kind}"]["seconds"]
                figures["rows/s"] = round(batch * batches / figures["seconds"], 2)
                figures["share of the matmul rate"] = round(figures["rows/s"] * flops * peak / (3 * 2 * MATMUL**3), 3)
        record[name] = row
        print(name, row, file=sys.stderr)
    rows = [[name, kind, *figures.values()] for name, row in record.items() for kind, figures in row.items()]
    print(tabulate(rows, ["network", "way", "seconds", "over the plain loop", "MiB", "rows/s", "share of matmul"]))
    return record


PARTS: dict[str, Callable[[int, str], Figures]] = {"settings": settings, "certification": certification}


def busy(count: int) -> list[subprocess.Popen]:
    """Start processes that keep one core busy each."""
    return [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--load",
        type=int,
        default=0,
        metavar="N",
        help="number of other processes that keep one core busy each (default: 0)",
    )
    parser.add_argument("--only", choices=list(PARTS), help="run only this part (default: both)")
    parser.add_argument(
        "--work", default="", metavar="TEXT", help="run only work whose name contains this text, such as 'digits'"
    )
    parser.add_argument("--output", help="also write the figures as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(args.worker)
        return
    others = busy(args.load)
    try:
        record = {name: part(args.rounds, args.work) for name, part in PARTS.items() if args.only in (None, name)}
    finally:
        for process in others:
            process.kill()
            process.wait()
    from benchmarks.timing import write_figures

    write_figures(args.output, "cpu", load=args.load, rounds=args.rounds, settings=SETTINGS, record=record)


if __name__ == "__main__":
    main()
