"""One certification on all GPUs of a machine: a process for each shard, each with a device of its own."""

import contextlib
import logging
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from dmaelab.config import load_plugins
from dmaelab.engine.certification import Certification, run_certification
from dmaelab.records.folders import read_folders, read_header
from dmaelab.records.row import parse_row
from dmaelab.smoothing.progress import Progress
from dmaelab.utils.cli import preempted_by_signals, run_main
from dmaelab.utils.errors import UserError

logger = logging.getLogger("dmaelab")

STOPPED = "stopped by a signal; finished images are in the log: continue with the same command"

_POLL = 1.0


def certify_in_processes(cfg: DictConfig, count: int, progress: bool = True) -> Path:
    """Certify as :func:`~dmaelab.engine.certification.run_certification` does, in ``count`` processes; return the
    folder of the log.

    Process i takes shard i and, where the config leaves the device to ``"auto"``, the i-th visible GPU, round
    robin; without a GPU the processes share the cores. They share nothing but the folder and wait for
    nothing: when one fails, the others finish their shards, and the same command then does the rest.

    Args:
        cfg: of :func:`~dmaelab.engine.certification.certification_config`.
        count: processes, at least 1.
        progress: draw one bar for all.

    Raises:
        UserError: a process failed; its own line says why.
    """
    if count < 1:
        raise UserError(f"{count} processes cannot certify: give at least 1, or 'auto' for one per GPU")
    sigma, folder = float(cfg.corruption.sigma), Certification(cfg).folder
    logger.info("certifying in %d processes at sigma %g (= %g/255): %s", count, sigma, 255 * sigma, folder)
    text = OmegaConf.to_yaml(cfg)
    context = multiprocessing.get_context("spawn")  # a fork could not use CUDA
    children = [context.Process(target=_shard, args=(text, part, count)) for part in range(count)]
    with preempted_by_signals(STOPPED):
        try:
            for child in children:
                child.start()
            _watch(children, folder, progress)
        finally:
            for child in children:
                if child.is_alive():
                    child.terminate()
            for child in children:
                if child.pid is not None:
                    child.join()
    if failed := [part for part, child in enumerate(children) if child.exitcode]:
        raise UserError(
            f"shards {', '.join(map(str, failed))} of {count} failed, see above; repeat the command to do what they"
            " left"
        )
    return folder


def default_processes() -> int:
    """Return one process per visible GPU, and one without any."""
    return max(1, torch.cuda.device_count())


def _shard(text: str, part: int, count: int) -> None:
    """Certify one shard, in a process of its own."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cfg: Any = OmegaConf.create(text)
    load_plugins(cfg)
    if part:  # a warning is the same in every process
        logger.setLevel(logging.ERROR)
    if cfg.certify.get("device", "auto") == "auto":
        cfg.certify.device = f"cuda:{part % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    if cfg.certify.device == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // count))

    def certify() -> None:
        run_certification(cfg, (part, count), progress=False)

    run_main(certify)


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its shards, and they would keep their files locked."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _watch(children: list[Any], folder: Path, progress: bool) -> None:
    """Draw the rows as they come, from the files that the processes append to, until all processes have ended."""
    begun = None
    while begun is None and any(child.is_alive() for child in children):
        with contextlib.suppress(UserError):
            begun, total = read_folders([folder]), read_header(folder)["identity"]["subset"]["count"]
        time.sleep(_POLL)
    if begun is None:
        return
    with Progress(total, [parse_row(begun.columns, cells) for cells in begun.rows.values()], hide=not progress) as bar:
        seen, running = begun.rows.keys(), True
        while running:
            running = any(child.is_alive() for child in children)
            with contextlib.suppress(UserError):  # a file that is being made; only the bar would miss it
                table = read_folders([folder])
                for index in table.rows.keys() - seen:
                    bar.add(parse_row(table.columns, table.rows[index]))
                seen = table.rows.keys()
            time.sleep(_POLL if running else 0)
