"""What launchers and several processes cost: seconds until work begins, the hooks in a step, two processes beside one.

    python -m benchmarks.launch [--only submission|step|processes] [--output docs/benchmarks/launch_cpu.json]

1. ``submission``: seconds from the command to the first training step and to the first certified image, of a plain
   command, of ``--launcher local`` and of ``--launcher slurm``, in turn. Every job is stopped when its work has begun.
   A SLURM counts only if SLURM_CONF names it, so that no jobs are sent to a cluster that merely happens to be there.
   ``dev/slurm/with-slurm.sh`` starts one. Without $DMAELAB_SLURM, jobs ask for one CPU and no GPU. On a cluster, TMPDIR
   must name a folder that its machines share.
2. ``step``: see benchmarks/trainer_hooks.py.
3. ``processes``: see benchmarks/two_processes.py.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.timing import ROOT, write_figures
from benchmarks.trainer_hooks import step
from benchmarks.two_processes import processes, train_classifier
from dmaelab.launch.cluster.cancel import cancel
from dmaelab.launch.cluster.progress import images_done
from dmaelab.launch.cluster.records import Submission, submitted
from dmaelab.launch.cluster.scheduler import job_states
from dmaelab.launch.cluster.site import VARIABLE
from dmaelab.utils.cli import run_main
from dmaelab.utils.errors import UserError

TINY = [
    "model.encoder.width=16", "model.encoder.depth=1", "model.decoder.width=16", "train.precision=fp32",
    "train.device=cpu", "train.batch_size=32", "train.max_iter=1000000", "train.log_period=1",
]  # fmt: skip
CLASSIFIER = ["model.classifier.backbone.width=16", "model.classifier.backbone.depth=1"]
CERTIFY = ["dataset.split=test", "certify.device=cpu", "certifier.n=1000", "certify.batch_size=1000"]
SITE = "slurm = dict(gpus_per_node=0, cpus_per_task=1, time=20, signal_delay=30)\n"
LIMIT = 300.0
"""Seconds after which work that has not begun is given up."""

Turn = dict[str, float]
Rounds = list[dict[str, Turn]]


@dataclass(frozen=True)
class Work:
    """A command of ``tools``, the folder of its jobs, and a function that says whether its work has begun."""

    words: list[str]
    folder: Path
    begun: Callable[[], bool]


def training(run: Path) -> Work:
    """Return a training; it has begun when its first step stands in the metrics."""
    metrics = run / "metrics.jsonl"
    words = ["tools/train_net.py", "--config-file", "digits/pretrain", *TINY, f"train.out_dir={run}"]
    return Work(words, run, lambda: metrics.is_file() and metrics.stat().st_size > 0)


def certification(run: Path, name: str) -> Work:
    """Return a certification; it has begun when its first row stands in the log."""
    log = run / "certify" / name
    words = ["tools/certify.py", str(run), *CERTIFY, f"certify.name={name}"]
    return Work(words, log, lambda: images_done(log) > 0)


def start(work: Work, launcher: str, environment: Mapping[str, str], said: Any) -> subprocess.Popen[bytes]:
    """Start the command of a work; what it prints goes to the file ``said``."""
    words = work.words if launcher == "none" else [*work.words, "--launcher", launcher]
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, stdout=said, stderr=said)


def turn(work: Work, launcher: str, environment: Mapping[str, str]) -> Turn:
    """Start a work, wait until it has begun, and stop it.

    Returns:
        Seconds until the work begins, and until the command returns if it does so by itself.

    Raises:
        UserError: the work does not begin.
    """
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = start(work, launcher, environment, said)
        spent: Turn = {}
        try:
            while not work.begun():
                if process.poll() is not None:
                    spent.setdefault("returns", time.perf_counter() - started)
                if process.returncode or time.perf_counter() - started > LIMIT:
                    said.seek(0)
                    raise UserError(f"the work of {launcher} does not begin: {said.read().decode().strip()}")
                time.sleep(0.01)
            return {"begins": time.perf_counter() - started, **spent}
        finally:
            stop(process, work, launcher)


def stop(process: subprocess.Popen[bytes], work: Work, launcher: str) -> None:
    """Stop a work, and wait until all of it has ended."""
    if launcher == "none":
        process.terminate()
    process.wait()
    if submitted(work.folder):
        cancel(work.folder)
        while not all(state.over for state in job_states(work.folder, Submission.read(work.folder)).values()):
            time.sleep(0.2)


def no_slurm() -> str | None:
    """Return why SLURM is left out; None if one answers."""
    if "SLURM_CONF" not in os.environ:
        return "SLURM_CONF names no SLURM"
    try:
        answer = subprocess.run(["sinfo"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"sinfo does not answer ({type(error).__name__})"
    return None if answer.returncode == 0 else f"sinfo does not answer: {' '.join(answer.stderr.split())}"


def summary(rounds: Rounds) -> dict[str, Turn]:
    """Return for each launcher its median seconds, and the median over rounds of what it adds to the first one."""
    first = next(iter(rounds[0]))
    found = {}
    for name in rounds[0]:
        more = statistics.median(turns[name]["begins"] - turns[first]["begins"] for turns in rounds)
        values = {key: statistics.median(turns[name][key] for turns in rounds) for key in rounds[0][name]}
        found[name] = {key: round(value, 2) for key, value in {**values, "more": more}.items()}
    return found


def submission(rounds: int) -> dict[str, Any]:
    """Run part 1, and print its table."""
    reason = no_slurm()
    launchers = ["none", "local", *([] if reason else ["slurm"])]
    if reason:
        print(f"slurm is left out: {reason}")
    with tempfile.TemporaryDirectory(prefix="dmaelab-launch-") as name:
        folder = Path(name)
        (folder / "site.py").write_text(SITE)
        environment = {VARIABLE: str(folder / "site.py"), **os.environ, "OMP_NUM_THREADS": "1"}
        train_classifier(folder / "classifier", *CLASSIFIER)
        works: dict[str, Callable[[str], Work]] = {
            "first training step": lambda name: training(folder / name),
            "first certified image": lambda name: certification(folder / "classifier", name),
        }
        turns: dict[str, Rounds] = {label: [] for label in works}
        for number in range(rounds):
            for label, work in works.items():
                names = {launcher: f"{launcher}{number}" for launcher in launchers}
                turns[label].append({key: turn(work(name), key, environment) for key, name in names.items()})
    record = {label: summary(found) for label, found in turns.items()}
    rows = [
        [label, launcher, row["begins"], row["more"], row.get("returns")]
        for label, found in record.items()
        for launcher, row in found.items()
    ]
    print(tabulate(rows, ["until", "launcher", "seconds", "more than none", "command returns"]))
    return {"slurm left out": reason, "median seconds": record, "rounds": turns}


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {"submission": submission, "step": step, "processes": processes}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), help="run only this part (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", help="also write the figures as JSON")
    args = parser.parse_args()
    record = {name: part(args.rounds) for name, part in PARTS.items() if args.only in (None, name)}
    write_figures(args.output, "cpu", rounds=args.rounds, record=record)


if __name__ == "__main__":
    run_main(main)
