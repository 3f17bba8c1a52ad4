"""The run directory: everything that a training leaves behind, and all that the next stage finds."""

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from dmaelab.config import LazyConfig, diff, instantiate, load_plugins
from dmaelab.engine.checkpoint import CheckpointFolder, save_file
from dmaelab.engine.resolve import resolve, with_attention, with_defaults
from dmaelab.interfaces import Trainable
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

# Keys of the section `train` that change no weight.
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


class RunDirectory:
    """The folder of one training. It owns every path in it, and nothing is read before it is asked for.

    Args:
        path: of the folder; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = CheckpointFolder(self.path / "checkpoints")
        self.metrics, self.tensorboard = self.path / "metrics.jsonl", self.path / "tb"
        self._config, self._starts, self._final = (
            self.path / name for name in ("config.yaml", "run.json", "model_final.pth")
        )

    def __str__(self) -> str:
        return str(self.path)

    @property
    def begun(self) -> bool:
        """Whether a training has begun in it."""
        return self._config.is_file()

    @property
    def finished(self) -> bool:
        """Whether the training in it has finished."""
        return self._final.is_file()

    @cached_property
    def config(self) -> DictConfig:
        """The frozen config, its plug-ins imported. ``UserError`` if no training has begun here."""
        if not self.begun:
            raise UserError(f"{self} is not a run directory: it has no {self._config.name}")
        cfg = LazyConfig.load(self._config)
        load_plugins(cfg)
        return cfg

    @property
    def labels(self) -> dict[str, Any]:
        """The labels of the training, by which tables group its logs."""
        labels = self.config.get("labels")
        return {} if labels is None else dict(OmegaConf.to_container(labels, resolve=True))  # type: ignore[arg-type]

    def weights(self, name: str = "final") -> Path:
        """Return the file that a name of weights means: ``"final"``, the name of a checkpoint here, or a path.

        Raises:
            UserError: the final weights are asked for and the training has not finished.
        """
        if name == "final":
            if not self.finished:
                raise UserError(
                    f"{self} has no {self._final.name}: the training has not finished (continue it with --resume),"
                    " or name a checkpoint"
                )
            return self._final
        named = self.checkpoints.file(name)
        return named if named.is_file() else Path(name)

    def model(self, weights: str, device: torch.device) -> Trainable:
        """Return the trainable module with its weights, in evaluation mode, on ``device``.

        Its ``export()`` is what was trained: the classifier, or the autoencoder. Attention is computed as the rule says
        for this device, whatever the run was trained on.

        Raises:
            UserError: there is no run here, or the weights are not of its model.
        """
        model = instantiate(with_attention(self.config.model, device, training=False))
        path = self.weights(weights)
        content = read_file(path)
        if "model" not in content:
            raise WeightsError(
                f"{path}: not a file of a run, it has no entry 'model': tools/convert_weights.py --to dmaelab makes one"
                " of it"
            )
        check_heads(content.get(FACTS, {}), model.export(), str(path))
        fill_exact(model.export(), unwrap(_state(content, weights)), str(path))
        return model.eval().to(device)

    def save_final(self, content: dict[str, Any]) -> None:
        """Write the final weights, with which the training is finished."""
        save_file(self._final, content)

    def log_folder(self, name: str) -> Path:
        """Return the folder of the certification log of that name."""
        return self.path / "certify" / name

    @contextmanager
    def occupied(self, cfg: DictConfig, resume: bool) -> Iterator[None]:
        """Make the folder, still without what :meth:`freeze` writes, and keep other processes out of it.

        Raises:
            UserError: another process trains in it, or it holds a run and ``resume`` is not asked for.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"train.out_dir {self} cannot be made: {error.strerror}") from None
        with self.hold():
            if self.begun:
                if not resume:
                    raise UserError(
                        f"{self} already holds a run: continue it with --resume, or choose another train.out_dir"
                    )
                for change in self.changes(cfg):
                    logger.warning("resuming with another config: %s", change.between("in the run", "now"))
            yield

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes from training in the folder meanwhile; ``UserError`` if one does."""
        with open(self.path / ".lock", "w") as file:
            try:  # a lock of this process alone: workers of the loader that outlive a killed one hold nothing
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise UserError(
                    f"{self}: another process is training in it: wait for it, or choose another train.out_dir"
                ) from None
            except OSError as error:  # some file systems of clusters have no locks
                logger.warning(
                    "%s cannot be locked (%s): see to it that no other process trains in it", self, error.strerror
                )
            yield

    def freeze(self, cfg: DictConfig, resume: bool, started_from: Path | None = None) -> None:
        """Write the frozen config and the record of this start.

        Call it when everything is built: then a start that fails neither occupies a directory nor gives a run the
        config of another.

        Args:
            cfg: a resolved training config.
            resume: whether the start was asked to continue.
            started_from: the file whose weights the run begins with; its hash is recorded.
        """
        kept = cfg.copy()
        kept.pop("debug", None)  # a trial is of the config as it comes, not of a run
        LazyConfig.save(kept, self._config)
        self.__dict__.pop("config", None)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        weights = {}
        if started_from is not None:
            weights = {"weights": str(started_from), "weights_hash": file_hash(started_from)}
        start = {"time": now, "resume": resume, **weights, **environment()}
        write_json(self._starts, {"starts": [*self.starts(), start]})

    def starts(self) -> list[dict[str, Any]]:
        """Return the record of each start so far."""
        return json.loads(self._starts.read_text())["starts"] if self._starts.exists() else []

    def initial_weights(self) -> str | None:
        """Return the hash of the file whose weights the run began with; None if from scratch, or not recorded."""
        return next((start["weights_hash"] for start in self.starts() if "weights_hash" in start), None)

    def changes(self, cfg: DictConfig) -> list[Difference]:
        """Return what in ``cfg`` makes it another training than the one in this folder.

        Left out is what changes no weight: labels, how often the run logs and saves, workers, where the folder lies,
        and, unless it selects ``best``, how it evaluates. The device and what its rules choose are left out too.
        """
        frozen = with_defaults(LazyConfig.load(self._config))  # of options that did not exist when it was frozen
        asked = resolve(cfg, pick_device(cfg.train.get("device", "auto")))
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


def weights_of(source: str | Path) -> Path:
    """Return the file of weights that a source means: the final one of a run directory, or the file itself."""
    return RunDirectory(source).weights() if Path(source).is_dir() else Path(source)


def is_selected(weights: str) -> bool:
    """Return whether ``weights`` means those that a metric has selected, by name or by path."""
    return Path(weights).name in ("best", "best.pth")


def _state(content: dict[str, Any], weights: str) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint.

    Of ``best`` these are those of the moving average, if there is one: the metric was measured on it.
    """
    average = content.get("hooks", {}).get("EMAHook")
    if not is_selected(weights) or average is None:
        return content["model"]
    return {name.removeprefix("module."): value for name, value in average.items() if name.startswith("module.")}
