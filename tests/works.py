"""The works that the tests submit, all at once before the first test, and how the tests wait for them."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dmaelab.config import open_config
from dmaelab.engine import open_certification
from dmaelab.engine.training import SECTIONS, run_training
from dmaelab.launch.cluster.records import Submission, read_state, state_file
from dmaelab.launch.cluster.status import TaskStatus, statuses
from dmaelab.launch.job import CertifyJob, EvaluateJob, TableJob, TrainJob
from dmaelab.launch.launcher import choose_launcher
from dmaelab.launch.pipeline import SECTIONS as PIPELINE
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.work import Task, Work
from dmaelab.records.folders import read_folders

TINY = [
    "model.encoder.width=16", "model.encoder.depth=1", "model.decoder.width=16", "train.precision=fp32",
    "train.device=cpu", "train.log_period=10", "train.eval_images=40", "train.batch_size=32",
]  # fmt: skip
TINY_CLASSIFIER = [text.replace("model.encoder", "model.classifier.backbone") for text in TINY if "decoder" not in text]
QUICK = ["dataset.split=test", "certify.device=cpu", "certifier.n0=20", "certify.batch_size=100"]
SLOW = ["plugins=['slow_hook']", "+hooks=[{'_target_': 'slow_hook.SlowHook', 'seconds': 0.1}]"]
STEPS = 200
"""Steps of a training that is interrupted: it then takes 20 seconds and more."""
LONG = 600
"""Steps of one that needs longer than its time limit."""


def train_config(folder: Path, *overrides: str):
    """Return the config of a small pre-training."""
    return open_config("digits/pretrain", [*TINY, f"train.out_dir={folder}", *overrides], SECTIONS)


def train(folder: Path, *overrides: str, steps: int = STEPS, slow: bool = True, launcher: str = "slurm") -> Path:
    """Submit a small pre-training, and return its folder."""
    cfg = train_config(folder, f"train.max_iter={steps}", *(SLOW if slow else []), *overrides)
    choose_launcher(name=launcher).launch(Work.of(TrainJob.of(cfg, resume=True), folder, "train"))
    return folder


def evaluate(run: Path) -> None:
    """Submit another evaluation of a finished training."""
    cfg = open_config(run / "config.yaml", sections=SECTIONS)
    choose_launcher(name="slurm").launch(Work.of(EvaluateJob.of(cfg), run, "evaluate"))


def probe(folder: Path) -> Path:
    """Submit a linear probe as small as ``--debug`` makes it, and return its folder."""
    name = "imagenet/probe_base"
    cfg = open_config(name, [*open_config(name).debug, f"train.out_dir={folder}"], SECTIONS)
    choose_launcher(name="slurm").launch(Work.of(TrainJob.of(cfg, resume=True), folder, "train"))
    return folder


def certify(run: Path, name: str, parts: int, *overrides: str, launcher: str = "slurm") -> Path:
    """Submit the certification of a run in so many parts, and a table after it; return the folder of the log."""
    found = open_certification(run, [*QUICK, f"certify.name={name}", *overrides])
    job, table = CertifyJob.of(found.cfg), TableJob.of(found.cfg)
    slurm = job.section("slurm")
    tasks = (
        Task("certify", job, found.folder, slurm=slurm),
        Task("table", table, found.folder, ("certify",), slurm=slurm),
    )
    choose_launcher(parts, launcher).launch(Work(found.folder, tasks))
    return found.folder


def pipeline(config: Path, *overrides: str, launcher: str = "slurm") -> Path:
    """Submit a pipeline, and return its folder."""
    chain = Pipeline(open_config(config, overrides, PIPELINE), launcher=launcher, source=str(config))
    chain.run()
    return chain.plan.out


def undisturbed(folder: Path, *overrides: str, steps: int = STEPS) -> Path:
    """Train in this process, and return the run directory."""
    run_training(train_config(folder, f"train.max_iter={steps}", *overrides))
    return folder


def wait(folder: Path, seconds: float = 400.0) -> list[TaskStatus]:
    """Wait until all jobs of a folder have ended."""
    until(lambda: all(status.over for status in statuses(folder)[1]), seconds, lambda: show(folder))
    return statuses(folder)[1]


def until(true: Callable[[], bool], seconds: float = 240.0, words: Callable[[], str] = str) -> None:
    """Wait until a function returns True."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, words()
        time.sleep(0.3)


def show(folder: Path) -> str:
    """Return what there is to see of a work that did not do what it should."""
    logs = [path.read_text()[-2000:] for path in sorted(folder.glob("jobs/*/*.out"))]
    return "\n".join(
        [*(f"{status.task.name}: {status.state} {status.complaint}" for status in statuses(folder)[1]), *logs]
    )


def in_its_steps(folder: Path) -> bool:
    """Return whether a training has written its first records."""
    return (folder / "metrics.jsonl").is_file() and (folder / "metrics.jsonl").stat().st_size > 0


def when(true: Callable[[], bool], act: Callable[[], object]) -> None:
    """Do something as soon as a function returns True, beside everything else."""

    def watch() -> None:
        until(true)
        act()

    threading.Thread(target=watch, daemon=True).start()


def job_id(folder: Path, task: int = 0, part: int = 0) -> str:
    """Return the id of a job that was submitted."""
    return Submission.read(folder).tasks[task].parts[part].id


def task_pid(folder: Path, name: str = "train", part: int = 0, rank: int = 0) -> int:
    """Return the number of the process that watches the work of a job."""
    said = read_state(state_file(folder / "jobs", name, part, rank))
    assert said is not None
    return said.pid


def work_pid(folder: Path, name: str = "train", rank: int = 0) -> int:
    """Return the number of the process that does the work of a job."""
    parent = task_pid(folder, name, 0, rank)
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])


def alive(folder: Path, rank: int, name: str = "train") -> bool:
    """Return whether the process that watches the work of a job is still there."""
    return Path(f"/proc/{task_pid(folder, name, 0, rank)}").exists()


def starts(folder: Path) -> int:
    """Return how often the first job of a folder was started."""
    log = Path(Submission.read(folder).tasks[0].parts[0].log)
    return log.read_text().count("Starting with JobEnvironment")


def run(*command: str) -> str:
    """Run a command, and return what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    """Return the final weights of a run."""
    found: dict[str, torch.Tensor] = torch.load(run_folder / "model_final.pth", weights_only=True)["model"]
    return found


def same_weights(a: Path, b: Path) -> bool:
    """Return whether two runs have ended with the same bits."""
    first, second = weights(a), weights(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rows(log: Path) -> dict[int, tuple[str, ...]]:
    """Return the rows of a log without the column ``time``: image -> the other cells."""
    table = read_folders([log])
    at = table.columns.index("time")
    return {index: cells[:at] + cells[at + 1 :] for index, cells in table.rows.items()}
