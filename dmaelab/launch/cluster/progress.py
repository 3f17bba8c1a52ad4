"""How far a training or a certification is, read from the plain files that it writes. Needs no torch."""

import json
import os
import time
from datetime import datetime
from pathlib import Path

from dmaelab.records.folders import HEADER, shard_path, shard_paths

_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading a file raises that is missing, half written or something else."""


def steps_saved(run: Path) -> int:
    """Return the step of the newest checkpoint in a run directory; 0 if there is none."""
    names = [path.stem.removeprefix("step_") for path in (run / "checkpoints").glob("step_*.pth")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def images_done(log: Path, shard: tuple[int, int] | None = None) -> int:
    """Return the number of rows in one shard of a log, or in all of them."""
    paths = shard_paths(log) if shard is None else [shard_path(log, shard)]
    return sum(max(0, _lines(path) - 1) for path in paths)


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def images_wanted(log: Path) -> int | None:
    """Return the number of images of a certification; None if it has not begun."""
    try:
        return int(json.loads((log / HEADER).read_text())["identity"]["subset"]["count"])
    except _DAMAGED:
        return None


def training_progress(run: Path) -> tuple[int, int | None, float | None, dict[str, float]]:
    """Return (finished steps, all steps, seconds to go, newest record) of a training.

    Values that are not known yet are None. The time assumes the mean speed since the last start.
    """
    record = _last_record(run)
    step = max(int(record.get("step", 0)), steps_saved(run))
    try:
        start = json.loads((run / "run.json").read_text())["starts"][-1]
        total, before, began = int(start["steps"]), int(start["from_step"]), datetime.fromisoformat(start["time"])
    except _DAMAGED:
        return step, None, None, record
    try:
        spent = os.stat(run / "metrics.jsonl").st_mtime - began.timestamp()
    except OSError:
        return step, total, None, record
    return step, total, _seconds_left(step - before, total - step, spent), record


def _seconds_left(done: int, left: int, spent: float) -> float | None:
    return None if done <= 0 or spent <= 0 else spent / done * left


def seconds_left(done: int, left: int, began: str) -> float | None:
    """Return the seconds to go at the mean speed since ``began``; None if nothing is done yet."""
    return _seconds_left(done, left, time.time() - datetime.fromisoformat(began).timestamp())


def _last_record(run: Path) -> dict[str, float]:
    """Return the numbers in the newest complete line of ``metrics.jsonl``; only the end of the file is read."""
    try:
        with open(run / "metrics.jsonl", "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            lines = file.read().split(b"\n")[:-1]
        record = json.loads(lines[-1])
        return {name: value for name, value in record.items() if isinstance(value, (int, float))}
    except _DAMAGED:
        return {}


def is_finished(kind: str, folder: Path) -> bool:
    """Return whether a training has written its final weights, or a certification all its rows."""
    if kind == "training":
        return (folder / "model_final.pth").is_file()
    return kind == "certification" and images_done(folder) == images_wanted(folder)
