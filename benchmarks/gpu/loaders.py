"""Phase 5: speed of loading data, from memory and from JPEG files, compared with the speed of training."""

import json
import math
import statistics
import tempfile
from pathlib import Path

import torch

from benchmarks import image_loader, memory_loader
from benchmarks.gpu.record import Figures, Record
from benchmarks.timing import take_turns


def run(record: Record) -> None:
    """Measure both ways of loading, on one thread."""
    torch.set_num_threads(1)
    record.measure("images in memory", lambda: in_memory(record))
    record.measure("JPEGs", lambda: jpegs(record.tiny))
    rates = eaten(record.path.parent / "training.json")
    core = record.measurements["JPEGs"].get("dmaelab", {}).get("images/s of one core")
    if not (rates and core):
        record.skip("cores for JPEGs", "it needs the rate above, and images/s of the phase training in this folder")
        return
    cores = {name: {"images/s": rate, "cores": math.ceil(rate / core)} for name, rate in rates.items()}
    record.add("cores for JPEGs", cores)


def in_memory(record: Record) -> Figures:
    """Return the milliseconds that three loaders need for a step: 512 of 50,000 images of 32x32."""
    count, batch, rounds = (2000, 32, 1) if record.tiny else (memory_loader.COUNT, memory_loader.BATCH, 1)
    milliseconds, ratios, equal = memory_loader.measure(record.device, rounds, count, batch).values()
    ways = {way: {"ms a step": spent, "plain over this way": ratios[way]} for way, spent in milliseconds.items()}
    return {way: figures | {"equal pixels": equal} for way, figures in ways.items()}


def jpegs(tiny: bool) -> Figures:
    """Return the images per second that one core reads, crops and flips, with the common loader and with ours."""
    with tempfile.TemporaryDirectory() as folder:
        image_loader.make_pictures(Path(folder), 8 if tiny else 32)
        files = sorted(map(str, Path(folder).iterdir()))
        ways = {name: image_loader.WAYS[name] for name in ("plain", "dmaelab")}
        work = {name: lambda way=way: image_loader.processor_seconds(way, files) for name, way in ways.items()}
        spent = take_turns(work, 1 if tiny else 3)
    return {name: {"images/s of one core": len(files) / statistics.median(times)} for name, times in spent.items()}


def eaten(path: Path) -> dict[str, float]:
    """Return the images per second of our trainings, from the results of the phase ``training``."""
    measurements = json.loads(path.read_text())["measurements"] if path.exists() else {}
    return {name: rows["ours"]["images/s"] for name, rows in measurements.items() if "reference's loop" in rows}
