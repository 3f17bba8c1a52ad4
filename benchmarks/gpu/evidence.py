"""Phase 6: DMAE compared with MAE on CIFAR-10, in the remaining time.

The stages are those of ``pipelines/cifar10_tables`` with a larger ViT. A short trial of each kind of training
determines how many steps fit into the time; both encoders get the same number. A report is written after each
method (RS, CR, probe), so that the earlier report is kept if the time runs out.
"""

import functools
import json
import os
import re
import statistics
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from benchmarks.gpu.record import Figures, Record
from dmaelab.config import open_config, trust_plugins
from dmaelab.data import Dataset, build_dataset
from dmaelab.engine.training import SECTIONS, run_training
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.report import write_report

DATA = "cifar10-jpeg"
PIPELINE = "pipelines/cifar10_tables"
METHODS = ("rs", "cr", "probe")
KINDS = {
    "pretrain": "cifar10/pretrain",
    "rs": "cifar10/finetune_rs",
    "cr": "cifar10/finetune_cr",
    "probe": "cifar10/probe",
}
# Shares of the training time. RS and CR get the same steps, as in the paper, and everything is done for two encoders.
SHARES = {"pretrain": 0.5, "fine-tuning": 0.42, "probe": 0.08}
SAFETY = 0.85


@functools.cache
def images(split: str) -> Dataset:
    """Return the images, decoded once for all stages."""
    return build_dataset("image_folder", root=DATA, split=split, in_memory=True)


def run(record: Record) -> None:
    """Find the data, measure the speed of each training, then run the pipeline method by method."""
    if record.data is None and not (Path(os.environ.get("DMAELAB_DATA", "")) / DATA).is_dir():
        record.skip("DMAE against MAE", f"no data: give --data, or set $DMAELAB_DATA to the folder that holds {DATA}")
        return
    if record.measure("data", lambda: prepare(record)) is None:
        return
    out = Path(tempfile.mkdtemp())
    speeds = {kind: record.measure(f"trial of {kind}", functools.partial(trial, kind, out, record)) for kind in KINDS}
    if None in speeds.values():
        return
    planned = record.measure("steps", lambda: plan(speeds, record))
    if planned is None:
        return
    earlier = ""
    for count in range(1, len(METHODS) + 1):
        name = f"DMAE against MAE, {', '.join(METHODS[:count])}"
        cfg = pipeline_config(out / "runs", METHODS[:count], planned, record)
        if record.measure(name, functools.partial(certified, cfg, record)) is not None:
            record.measurements.pop(earlier, None)  # the new report contains it
            earlier = name


def prepare(record: Record) -> Figures:
    """Unpack the archive, if the data is one, and read all images; return the seconds that both took."""
    started = time.perf_counter()
    if record.data is not None:
        os.environ["DMAELAB_DATA"] = folder = tempfile.mkdtemp()
        with tarfile.open(record.data) as archive:
            archive.extractall(folder, filter="data")
    unpacked = time.perf_counter()
    counts = {f"{split} images": len(images(split)) for split in ("train", "test")}
    return {**counts, "seconds to unpack": unpacked - started, "seconds to decode": time.perf_counter() - unpacked}


def overrides(kind: str, steps: int, record: Record) -> list[str]:
    """Return the overrides for the config of a training. They call a function of this module, which is trusted."""
    trust_plugins([__name__])
    network = "model.encoder" if kind == "pretrain" else "model.classifier.backbone"
    width, depth, heads, batch = (32, 2, 2, 16) if record.tiny else (192, 12, 3, 512 if kind == "pretrain" else 256)
    data = [f"data.{split}={{'_target_': '{__name__}.images', 'split': '{split}'}}" for split in ("train", "test")]
    decoder = [f"model.decoder.width={width // 2}", "model.decoder.depth=2", f"model.decoder.num_heads={heads}"]
    return [
        *data,
        *(decoder if kind == "pretrain" else [f"labels.backbone=ViT {width}x{depth}"]),
        f"{network}.width={width}",
        f"{network}.depth={depth}",
        f"{network}.num_heads={heads}",
        f"train.batch_size={batch}",
        f"train.max_iter={steps}",
        f"train.device={record.device}",
        f"train.log_period={min(steps, 50)}",
        "train.checkpoint_period=0",
    ]


def trial(kind: str, out: Path, record: Record) -> Figures:
    """Train a few steps; return the seconds of a step, and the seconds that a stage needs in addition to its steps."""
    steps, folder, started = 4 if record.tiny else 40, out / f"trial_{kind}", time.perf_counter()
    own = [f"train.out_dir={folder}", "train.init_from=None", f"train.log_period={steps // 2}", "train.eval_images=16"]
    cfg = open_config(KINDS[kind], [*overrides(kind, steps, record), *own], SECTIONS)
    run_training(cfg)
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    step = cfg.train.batch_size / last["images_per_second"]
    beside = max(time.perf_counter() - started - steps * step, 0)
    return {"images/s": last["images_per_second"], "seconds of a step": step, "seconds beside": beside}


def plan(speeds: dict[str, Any], record: Record) -> Figures:
    """Return the number of steps of each kind of training, so that together they fill the remaining time."""
    step = {kind: figures["seconds of a step"] for kind, figures in speeds.items()}
    # A forward takes a third of a step, and even less in larger batches; sequential sampling mostly ends early.
    forwards = images_to_certify(record) * 800 / (6 * speeds["rs"]["images/s"])
    beside = statistics.median(figures["seconds beside"] for figures in speeds.values())
    fixed = 2 * (len(KINDS) * beside + len(METHODS) * (1 + forwards))
    training = SAFETY * (record.left - fixed) / 2
    if record.tiny:
        return dict.fromkeys(KINDS, 4)
    if training < 5:
        raise ValueError(f"{record.left:.0f} s are left, and certification and the starts of stages take {fixed:.0f}")
    finetuning = int(SHARES["fine-tuning"] * training / (step["rs"] + step["cr"]))
    return {
        "pretrain": int(SHARES["pretrain"] * training / step["pretrain"]),
        "rs": finetuning,
        "cr": finetuning,
        "probe": int(SHARES["probe"] * training / step["probe"]),
    }


def images_to_certify(record: Record) -> int:
    """Return the number of test images to certify."""
    return 4 if record.tiny else 500


def pipeline_config(out: Path, methods: tuple[str, ...], steps: Figures, record: Record) -> DictConfig:
    """Return the config of ``pipelines/cifar10_tables`` with these methods, steps and networks, writing to ``out``."""
    count, (n0, n) = images_to_certify(record), (10, 50) if record.tiny else (100, 2000)
    cfg: Any = OmegaConf.to_container(open_config(PIPELINE))
    stages = [stage for stage in cfg["stages"] if stage["name"] in ("mae", "dmae") or stage["name"].endswith(methods)]
    for stage in stages:
        kind = stage["name"].rpartition("_")[2] if "_" in stage["name"] else "pretrain"
        stage["overrides"] = overrides(kind, steps[kind], record)
        if "certify" in stage:
            stage["overrides"] = [
                f"certify.subset={{'count': {count}}}", "certify.precision=auto", f"certify.device={record.device}",
                f"certify.batch_size={50 if record.tiny else 2000}",
                "certifier.name=sequential", f"certifier.n0={n0}", f"certifier.n={n}",
            ]  # fmt: skip
    certifier = f"sequential, n0 = {n0}, n = {n}, alpha = 0.001"
    title = f"Certified accuracy (%) on {count} CIFAR-10 test images, sigma = 0.25, {certifier}"
    names = [stage["name"] for stage in stages]
    pairs = [pair for pair in cfg["pipeline"]["compare"] if set(pair) <= set(names)]
    cfg["pipeline"] |= {"out_dir": str(out), "title": title, "compare": pairs, "tables": [], "table_radii": None}
    return OmegaConf.create({**cfg, "stages": stages})


def certified(cfg: DictConfig, record: Record) -> Figures:
    """Run the unfinished stages of the pipeline; return its report, and copy the certification logs next to it."""
    started = time.perf_counter()
    pipeline = Pipeline(cfg)
    work, plan = pipeline.work(), pipeline.plan
    # The report is written here, because its text is a figure of the record.
    pipeline.launcher.launch(replace(work, tasks=tuple(task for task in work.tasks if task.job.kind != "report")))
    report = re.sub(r"^curves: .*\n", "", write_report(plan), flags=re.MULTILINE).replace(f"{plan.out}/", "")
    record.head["logs"] = {
        label: {path.name: path.read_text() for path in sorted(folder.iterdir()) if path.suffix in (".json", ".tsv")}
        for label, folder in plan.logs()
    }
    return {"seconds": time.perf_counter() - started, "report": report}
