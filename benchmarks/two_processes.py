"""Certification by two processes beside one: the part ``processes`` of ``python -m benchmarks.launch``.

Each process has one core, one thread and one shard, as with ``tools/certify.py --processes 2``. It is started once, and
certifies its shard once before the first timing. So neither the start of Python nor the imports are measured. Every
timing includes reading the config, the weights and the data: 0.3 of about 10 seconds, of one process as of two. In
every round the first process works alone, then both at once, then the second one alone. The rate of one process is the
mean of the two that were alone.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.timing import ROOT, worker_environment
from dmaelab.engine.certification import open_certification
from dmaelab.utils.cli import run_main
from dmaelab.utils.errors import UserError

IMAGES = 40
"""Images of a shard."""
CERTIFY = [
    "dataset.split=test", "certify.device=cpu", "certifier.n=2000", "certify.batch_size=1000",
    f'certify.subset={{"count": {2 * IMAGES}}}',
]  # fmt: skip


def train_classifier(run: Path, *overrides: str) -> None:
    """Train a classifier of digits for one step: what it has learned changes no speed.

    Raises:
        UserError: the training failed.
    """
    chosen = ["train.init_from=None", "train.max_iter=1", "train.device=cpu", f"train.out_dir={run}", *overrides]
    command = [sys.executable, "tools/train_net.py", "--config-file", "digits/finetune_rs", *chosen]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise UserError(f"the training of a classifier failed: {answer.stderr.strip()}")


class Worker:
    """A process with a core of its own, which certifies a shard on request."""

    def __init__(self, run: Path, shard: int, core: int) -> None:
        command = [sys.executable, "-m", "benchmarks.two_processes", str(run), str(shard), str(core)]
        environment = worker_environment(OMP_NUM_THREADS="1")
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, log: str) -> None:
        """Begin the shard of a new log."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{log}\n")
        self.process.stdin.flush()

    def seconds(self) -> float:
        """Wait for the shard, and return the seconds that it took."""
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())


def serve() -> None:
    """Certify the shard once for each name of a log on the standard input, and print the seconds."""
    run, shard, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    for line in sys.stdin:
        started = time.perf_counter()
        open_certification(run, [*CERTIFY, f"certify.name={line.strip()}"]).run((int(shard), 2), progress=False)
        print(time.perf_counter() - started, flush=True)


def rates(alone: Sequence[float], both: Sequence[float]) -> dict[str, float]:
    """Return images a second of one process and of two in a round, and their ratio, from the seconds of each shard.

    Two processes have finished when the slower one has.
    """
    one, two = statistics.fmean(IMAGES / seconds for seconds in alone), 2 * IMAGES / max(both)
    return {"one": round(one, 3), "two": round(two, 3), "ratio": round(two / one, 3)}


def processes(rounds: int) -> dict[str, Any]:
    """Run this part, and print its table."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise UserError("two processes need two cores, and this process may use one")
    with tempfile.TemporaryDirectory(prefix="dmaelab-launch-") as name:
        run = Path(name) / "classifier"
        train_classifier(run)
        workers = [Worker(run, shard, core) for shard, core in enumerate(cores)]

        def certify(log: str, *chosen: Worker) -> list[float]:
            for worker in chosen:
                worker.begin(log)
            return [worker.seconds() for worker in chosen]

        try:
            certify("warm", *workers)
            turns = []
            for number in range(rounds):
                first = certify(f"first{number}", workers[0])
                both = certify(f"both{number}", *workers)
                turns.append(rates([*first, *certify(f"second{number}", workers[1])], both))
        finally:
            for worker in workers:
                worker.process.communicate()
    ratios = [row["ratio"] for row in turns]
    print(tabulate([[number, *row.values()] for number, row in enumerate(turns, 1)], ["round", "one", "two", "ratio"]))
    print(f"images a second: best ratio {max(ratios)}, median {statistics.median(ratios)}")
    return {"rounds": turns, "best": max(ratios), "median": round(statistics.median(ratios), 3)}


if __name__ == "__main__":
    run_main(serve)
