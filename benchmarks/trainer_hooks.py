"""What the trainer's hooks cost in each step: the part ``step`` of ``python -m benchmarks.launch``.

One real run of ``DefaultTrainer`` does stretches of steps in turn: with all default hooks, with none, and by a plain
loop of the same forward, backward and optimizer step. All three work on the same model, optimizer and loader. The two
processes of a group change the way at the same step. A checkpoint or an evaluation is work that was asked for, so the
run makes none.

A stretch of digits is a whole period of ``train.log_period``. One of ViT-B has two steps, and a record at its end, so
its steps with all hooks are those of a run with many records. All other figures hold for the default period.

A difference of whole steps is noisy. So every call of a hook is timed as well: on a CPU a call ends when its work ends.
With several processes, the call that exchanges the stop flag also waits for the slowest of them, as the next backward
pass would. What the exchange costs by itself is timed after the run, when all processes do nothing else.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from tabulate import tabulate

from benchmarks.timing import worker_environment
from dmaelab.config import open_config
from dmaelab.data import make_batch
from dmaelab.engine import DefaultTrainer
from dmaelab.engine.hooks import PreemptionHook
from dmaelab.engine.resolve import resolve
from dmaelab.engine.training import SECTIONS
from dmaelab.launch.process_group import process_group
from dmaelab.utils.cli import run_main
from dmaelab.utils.distributed import is_main, rank, world_size
from dmaelab.utils.errors import UserError
from dmaelab.utils.logs import setup_logging
from dmaelab.utils.precision import autocast
from dmaelab.utils.random import Draw

HOOKS, NONE, PLAIN = WAYS = ("with all hooks", "without hooks", "plain loop")
PERIOD = 50
"""The default of ``train.log_period``: at its end the hooks read the losses, check the weights and write a record."""
FLAGS = 200
"""Exchanges of the stop flag in one timing."""
IMAGES = {"digits": 32, "ViT-B": 4}
"""Subject -> images of a step of each process."""
STRETCH = {"digits": PERIOD, "ViT-B": 2}
"""Subject -> steps of a stretch."""
CASES = {"digits": ("digits", 1), "digits, 2 processes": ("digits", 2), "ViT-B": ("ViT-B", 1)}
"""Name of a row -> subject, processes."""
SHARE = "hooks, % of a ViT-B step"
Call = tuple[bool, dict[str, float]]
"""Whether a step wrote a record, and hook -> seconds in it."""


def config(subject: str, folder: str, processes: int, rounds: int) -> DictConfig:
    """Return the config of a pre-training on the CPU: one stretch of each way to warm up, and then ``rounds`` of each.

    A stretch has ``train.log_period`` steps, so that each holds one record.
    """
    name = "digits/pretrain" if subject == "digits" else "imagenet/pretrain_base"
    batch, steps = IMAGES[subject] * processes, (rounds + 1) * len(WAYS) * STRETCH[subject]
    own = [
        f"train.out_dir={folder}",
        f"train.batch_size={batch}",
        f"train.log_period={STRETCH[subject]}",
        "train.eval_period=0",
        "train.device=cpu",
        "train.precision=auto",
    ]
    if subject == "ViT-B":  # generated images in place of ImageNet, for the model as it is
        trial = [text for text in open_config(name).debug if not text.startswith("model.")]
        own = [*trial, *own, "train.milestones={}", "train.epochs=1", f"data.train.count={steps * batch}"]
    else:
        own.append(f"train.max_iter={steps}")
    return open_config(name, own, SECTIONS)


class Alternating(DefaultTrainer):
    """A trainer that does stretches of steps in turn in the ways :data:`WAYS`, and notes what each step took.

    The last stretch is without hooks: so none of them does what is done once, after the last step.

    Args:
        cfg: a resolved config; a stretch has ``train.log_period`` steps.

    Attributes:
        times: way -> seconds of each of its steps.
        calls: for each step with hooks, what the hooks took.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.stretch = cfg.train.log_period
        self.times: dict[str, list[float]] = {way: [] for way in WAYS}
        self.calls: list[Call] = []
        super().__init__(cfg)

    def _call(self, moment: str) -> None:
        if moment == "before_train":
            super()._call(moment)
        elif moment != "after_train":  # where a checkpoint may be written
            self._in_step(moment)

    def _in_step(self, moment: str) -> None:
        if moment == "before_step":
            self.way = WAYS[self.step // self.stretch % len(WAYS)]
            self.spent = {hook.name: 0.0 for hook in self.hooks}
            self.began = time.perf_counter()
        if self.way == HOOKS:
            for hook in self.hooks:
                started = time.perf_counter()
                getattr(hook, moment)()
                self.spent[hook.name] += time.perf_counter() - started
        if moment == "after_step":
            self.times[self.way].append(time.perf_counter() - self.began)
            if self.way == HOOKS:
                self.calls.append((self.step % self.stretch == 0, self.spent))

    def run_step(self) -> None:
        """Run a step, or that of a plain loop."""
        if self.way != PLAIN:
            super().run_step()
            return
        draw = Draw(self.seed, "train", self.step, rank(), device=self.device)
        batch = make_batch(next(self.micro_batches), self.device, draw, progress=self.step / self.max_iter)
        with autocast(self.precision, self.device.type):
            loss = sum(self.model(batch).values())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def finish(self) -> None:
        """Write no weights."""


def stretches(times: Mapping[str, Sequence[float]], length: int) -> dict[str, list[float]]:
    """Return way -> mean seconds of a step in each stretch, without the first stretch."""
    return {
        way: [statistics.fmean(steps[at : at + length]) for at in range(length, len(steps), length)]
        for way, steps in times.items()
    }


def hook_costs(calls: Sequence[Call]) -> dict[str, dict[str, float]]:
    """Return hook -> microseconds: of an ordinary step, of a step with a record, and per step at the default period."""
    costs = {}
    for hook in calls[0][1]:
        ordinary, record = (
            1e6 * statistics.median(spent[hook] for wrote, spent in calls if wrote == kind) for kind in (False, True)
        )
        mean = ordinary + (record - ordinary) / PERIOD
        costs[hook] = {"ordinary": round(ordinary, 1), "record": round(record, 1), "per step": round(mean, 1)}
    return costs


def flag_cost(repeats: int) -> float:
    """Return the microseconds of one exchange of the stop flag, as the median over repeats of :data:`FLAGS` calls."""
    hook = PreemptionHook(lambda: None)
    hook.before_train()
    spent = []
    try:
        for _ in range(repeats):
            started = time.perf_counter()
            for _ in range(FLAGS):
                hook.after_step()
            spent.append((time.perf_counter() - started) / FLAGS)
    finally:
        hook.close()
    return 1e6 * statistics.median(spent)


def record_of(trainer: Alternating, flag: float) -> dict[str, Any]:
    """Return the figures of a finished run, in which an exchange of the stop flag takes so many microseconds."""
    means = stretches(trainer.times, trainer.stretch)
    costs = hook_costs(trainer.calls[trainer.stretch :])
    exchange = costs["PreemptionHook"]["per step"]
    more = statistics.median(a - b for a, b in zip(means[HOOKS], means[NONE], strict=True))
    return {
        "precision": trainer.precision,
        "images a step": trainer.settings.batch_size,
        "threads of a process": torch.get_num_threads(),
        "ms a step": {way: round(1e3 * statistics.median(values), 3) for way, values in means.items()},
        "all hooks, as a difference of steps, us": round(1e6 * more, 1),
        "other hooks, us": round(sum(cost["per step"] for cost in costs.values()) - exchange, 1),
        "stop flag, us": round(flag, 1),
        "stop flag with waiting, us": exchange,
        "each hook, us": costs,
    }


def worker() -> None:
    """Do one run as a process of its own, alone or in a group; the first one prints the figures as its last line."""
    subject, rounds = sys.argv[1], int(sys.argv[2])
    setup_logging()
    with tempfile.TemporaryDirectory(prefix="dmaelab-hooks-") as folder, process_group():
        trainer = Alternating(resolve(config(subject, folder, world_size(), rounds), torch.device("cpu")))
        trainer.train()
        record = record_of(trainer, flag_cost(10))
        if is_main():
            print(json.dumps(record), flush=True)


def run(subject: str, processes: int, rounds: int) -> dict[str, Any]:
    """Run workers, and return the figures; each process of digits has one thread."""
    group = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *group, "-m", "benchmarks.trainer_hooks", subject, str(rounds)]
    threads = {"OMP_NUM_THREADS": "1"} if subject == "digits" else {}
    answer = subprocess.run(command, env=worker_environment(**threads), capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise UserError(f"the steps of {subject} failed: {answer.stderr.strip()}")
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def shares(record: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add to each row what all hooks are of a ViT-B step of the plain loop, in percent, without and with waiting."""
    step_us = 1e3 * record["ViT-B"]["ms a step"][PLAIN]
    found = {}
    for name, row in record.items():
        alone, waiting = (
            100 * (row["other hooks, us"] + row[flag]) / step_us
            for flag in ("stop flag, us", "stop flag with waiting, us")
        )
        found[name] = {**row, SHARE: round(alone, 3), f"{SHARE}, with waiting": round(waiting, 3)}
    return found


def step(rounds: int) -> dict[str, Any]:
    """Run this part, and print its table."""
    record = shares({name: run(*case, rounds) for name, case in CASES.items()})
    columns = [
        *("all hooks, as a difference of steps, us", "other hooks, us", "stop flag, us", "stop flag with waiting, us"),
        *(SHARE, f"{SHARE}, with waiting"),
    ]
    table: list[list[Any]] = [
        [f"ms a step, {way}", *(row["ms a step"][way] for row in record.values())] for way in WAYS
    ]
    table += [[column, *(row[column] for row in record.values())] for column in columns]
    print(tabulate(table, ["", *record]))
    return record


if __name__ == "__main__":
    run_main(worker)
