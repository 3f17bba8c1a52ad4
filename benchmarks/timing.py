"""Shared code of the benchmarks: timing in turn, ratios, the rate of a large matmul, environments, and JSON files."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dmaelab.utils.env import environment
from dmaelab.utils.files import write_json
from dmaelab.utils.precision import PRECISIONS

ROOT = Path(__file__).parents[1]
Run = Callable[[], None]
Seconds = Callable[[], float]


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the common options ``--device``, ``--rounds`` and ``--output``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--output", help="also write the figures as JSON")
    return parser


def worker_environment(**own: str) -> dict[str, str]:
    """Return the environment of a process that runs a module of this package, with variables of its own."""
    here = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    return {**os.environ, "PYTHONPATH": here, **own}


def wait(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clocked(work: Mapping[str, Run], clock: Callable[[], float] = time.perf_counter) -> dict[str, Seconds]:
    """Wrap each piece of work in a function that returns its seconds. The work must wait for its device itself."""

    def seconds(run: Run) -> float:
        started = clock()
        run()
        return clock() - started

    return {name: lambda run=run: seconds(run) for name, run in work.items()}  # type: ignore[misc]


def take_turns(work: Mapping[str, Seconds], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Run the pieces of work in turn; return the seconds of each in each round, after some rounds to warm up."""
    turns = [{name: run() for name, run in work.items()} for _ in range(warm_up + rounds)]
    return {name: [turn[name] for turn in turns[warm_up:]] for name in work}


def ratio(spent: Mapping[str, list[float]], over: str, under: str) -> float:
    """Return the median over rounds of the ratio of two times."""
    return statistics.median(a / b for a, b in zip(spent[over], spent[under], strict=True))


def matmul(device: torch.device, precision: str, size: int) -> Run:
    """Return a function that multiplies two random square matrices (2 * size^3 operations) and waits for the device."""
    left, right = (torch.randn(size, size, device=device).to(PRECISIONS[precision] or torch.float32) for _ in range(2))

    def multiply() -> None:
        torch.mm(left, right)
        wait(device)

    return multiply


def write_figures(path: str | None, device: torch.device | str, **figures: Any) -> None:
    """Write results as JSON, with facts about the machine. Without a path write nothing."""
    if path:
        context = {"environment": environment(), "device": str(device), "threads": torch.get_num_threads()}
        write_json(path, {**context, **figures})
