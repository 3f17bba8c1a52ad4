"""The run directory: the only hand-over between stages."""

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from dmaelab.config import LazyConfig, diff, instantiate, load_plugins
from dmaelab.engine.settings import TrainSettings
from dmaelab.interfaces import Trainable
from dmaelab.modeling import attention_rule
from dmaelab.rules.precision import precision_rule
from dmaelab.utils.differences import Difference
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.env import environment
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import file_hash, write_json
from dmaelab.weights import fill_exact, read_file
from dmaelab.weights.facts import check_heads
from dmaelab.weights.files import FACTS, WeightsError
from dmaelab.weights.layouts import unwrap

logger = logging.getLogger("dmaelab")

CONFIG, RUN, FINAL = "config.yaml", "run.json", "model_final.pth"
_NEUTRAL = (
    "out_dir",
    "device",
    "num_workers",
    "log_period",
    "checkpoint_period",
    "keep_checkpoints",
    "tensorboard",
    "eval_batch_size",
)


@contextmanager
def occupied(cfg: DictConfig, resume: bool) -> Iterator[None]:
    """Make the run directory ``train.out_dir``, still without what :func:`freeze` writes, and keep other processes out
    of it.

    Raises:
        UserError: another process trains in the directory, or it holds a run and ``resume`` is not asked for.
    """
    out = Path(cfg.train.out_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"train.out_dir {out} cannot be made: {error.strerror}") from None
    with hold(out):
        if (out / CONFIG).exists():
            if not resume:
                raise UserError(
                    f"{out} already holds a run: continue it with --resume, or choose another train.out_dir"
                )
            for change in changes(out, cfg):
                logger.warning("resuming with another config: %s", change.between("in the run", "now"))
        yield


@contextmanager
def hold(out: Path) -> Iterator[None]:
    """Keep other processes from training in a run directory meanwhile; ``UserError`` if one does."""
    with open(out / ".lock", "w") as file:
        try:  # a lock of this process alone: workers of the loader that outlive a killed one hold nothing
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(
                f"{out}: another process is training in it: wait for it, or choose another train.out_dir"
            ) from None
        except OSError as error:  # some file systems of clusters have no locks
            logger.warning(
                "%s cannot be locked (%s): see to it that no other process trains in it", out, error.strerror
            )
        yield


def freeze(cfg: DictConfig, resume: bool, started_from: Path | None = None) -> None:
    """Write the frozen config and the record of this start: when everything is built, so that a start that
    fails neither occupies a directory nor gives a run the config of another.

    ``started_from`` is the file whose weights the run begins with; its hash is recorded.
    """
    out = Path(cfg.train.out_dir)
    kept = cfg.copy()
    kept.pop("debug", None)  # a trial is of the config as it comes, not of a run
    LazyConfig.save(kept, out / CONFIG)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    weights = {} if started_from is None else {"weights": str(started_from), "weights_hash": file_hash(started_from)}
    write_json(out / RUN, {"starts": [*_starts(out), {"time": now, "resume": resume, **weights, **environment()}]})


def initial_weights(run: Path) -> str | None:
    """Return the hash of the file whose weights a run began with; None where it began from scratch, or was not
    recorded.
    """
    return next((start["weights_hash"] for start in _starts(run) if "weights_hash" in start), None)


def _starts(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / RUN).read_text())["starts"] if (run / RUN).exists() else []


def changes(run: Path, cfg: DictConfig) -> list[Difference]:
    """Return what in ``cfg`` makes it another training than the one in a run directory.

    Not what changes no weight (labels, how often it logs, saves and, unless that selects ``best``, evaluates;
    workers; where the directory lies), nor the device and what its rules choose.
    """
    frozen, asked = LazyConfig.load(run / CONFIG), cfg.copy()
    _write_defaults(frozen)  # of options that there were none of when it was frozen
    resolve(asked, pick_device(asked.train.get("device", "auto")))
    neutral = [f"train.{name}" for name in _NEUTRAL]
    if cfg.train.get("precision", "fp32") == "auto":
        neutral.append("train.precision")
    if asked.train.best_metric is None:
        neutral += ["train.eval_period", "train.eval_images"]
    return [
        change
        for change in diff(frozen, asked)
        if change.key not in neutral
        and change.key.split(".")[0] not in ("labels", "debug")
        and change.key.split(".")[-1] != "attention"
    ]


def resolve(cfg: DictConfig, device: torch.device) -> None:
    """Write into a training config, in place, what it leaves to defaults and rules, so that the frozen one tells."""
    _write_defaults(cfg)
    if cfg.train.precision == "auto":
        cfg.train.precision = precision_rule(device.type)
    set_attention(cfg.model, device, training=True)


def _write_defaults(cfg: DictConfig) -> None:
    for field in fields(TrainSettings):
        if field.name not in cfg.train:
            cfg.train[field.name] = field.default_factory() if field.default_factory is not MISSING else field.default


def set_attention(node: DictConfig, device: torch.device, training: bool) -> None:
    """Write the rule of the device over each ``attention`` below ``node``, in place; for a training only where it says
    ``auto``.
    """
    for key, value in node.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            set_attention(value, device, training)
        elif key == "attention" and (value == "auto" or not training):
            node[key] = attention_rule(device.type, training)


def load_run(run: str | Path) -> DictConfig:
    """Return the frozen config of a run directory, its plug-ins imported.

    Raises:
        UserError: there is no run in it.
    """
    path = Path(run) / CONFIG
    if not path.is_file():
        raise UserError(f"{run} is not a run directory: it has no {CONFIG}")
    cfg = LazyConfig.load(path)
    load_plugins(cfg)
    return cfg


def weights_file(run: str | Path, weights: str) -> Path:
    """Return the file that ``weights`` means: ``"final"``, the name of a checkpoint of the run, or a path."""
    run = Path(run)
    if weights == "final":
        if not (run / FINAL).is_file():
            raise UserError(
                f"{run} has no {FINAL}: the training has not finished (continue it with --resume), or name a checkpoint"
            )
        return run / FINAL
    named = run / "checkpoints" / f"{weights}.pth"
    return named if named.is_file() else Path(weights)


def is_selected(weights: str) -> bool:
    """Return whether ``weights`` means those that a metric has selected, by name or by path."""
    return Path(weights).name in ("best", "best.pth")


def load_model(run: str | Path, weights: str, device: torch.device) -> Trainable:
    """Return the trainable module of a run with its weights, in evaluation mode, on ``device``.

    Its ``export()`` is what was trained: the classifier, or the autoencoder. Attention is computed as the
    rule says for this device, whatever it was trained on.
    """
    cfg = load_run(run)
    set_attention(cfg.model, device, training=False)
    model = instantiate(cfg.model)
    path = weights_file(run, weights)
    content = read_file(path)
    if "model" not in content:
        raise WeightsError(
            f"{path}: not a file of a run, it has no entry 'model': tools/convert_weights.py --to dmaelab makes one"
            " of it"
        )
    check_heads(content.get(FACTS, {}), model.export(), str(path))
    fill_exact(model.export(), unwrap(_state(content, weights)), str(path))
    return model.eval().to(device)


def _state(content: dict[str, Any], weights: str) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint; of ``best`` the moving average where there is one, which its metric was
    measured on.
    """
    average = content.get("hooks", {}).get("EMAHook")
    if not is_selected(weights) or average is None:
        return content["model"]
    return {name.removeprefix("module."): value for name, value in average.items() if name.startswith("module.")}
