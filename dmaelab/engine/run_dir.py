"""The run directory: the files that a training writes, and that fine-tuning and certification read."""

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

from dmaelab.config import LazyConfig, instantiate, load_plugins
from dmaelab.data import Dataset
from dmaelab.engine.checkpoint import CheckpointFolder, save_file
from dmaelab.engine.hooks.ema import EMAHook
from dmaelab.engine.resolve import with_attention
from dmaelab.engine.weight_changes import NOT_OF_A_RUN, weight_changes
from dmaelab.interfaces import Trainable
from dmaelab.records.folders import LOGS_FOLDER
from dmaelab.utils.differences import Difference, listed
from dmaelab.utils.distributed import world_size
from dmaelab.utils.env import environment
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import file_hash, remove_leftovers, write_json
from dmaelab.utils.locks import lock
from dmaelab.utils.machine import machine_error
from dmaelab.weights import fill_exact, read_file
from dmaelab.weights.facts import name_classes
from dmaelab.weights.files import FACTS, WeightsError
from dmaelab.weights.heads import check_heads
from dmaelab.weights.layouts import unwrap

logger = logging.getLogger("dmaelab")

WEIGHTS_HASH = "the hash of train.init_from"
"""The key of the difference between the initial weights of a run and those that a config names."""
_GO_ON = "to go on with the new ones, add --allow-changes; or choose another train.out_dir"


class RunDirectory:
    """The folder of one training: paths of its files, frozen config, weights, and a lock.

    Files are read only when they are needed. :mod:`dmaelab.records.folders` knows the files of a log below it.

    Args:
        path: the folder; it need not exist yet.

    Attributes:
        path: the folder.
        checkpoints: its folder of checkpoints.
        metrics: file of log records, one JSON object in each line.
        tensorboard: folder of TensorBoard files.
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
        """Whether a training has begun in this folder."""
        return self._config.is_file()

    @property
    def finished(self) -> bool:
        """Whether the training in this folder has finished."""
        return self._final.is_file()

    @cached_property
    def config(self) -> DictConfig:
        """The frozen config; ``UserError`` if no training has begun here.

        It is data, because it may be someone else's: what it may build is in :mod:`dmaelab.config.trust`. Reading it
        imports its plug-ins. No module is imported from this folder, unless the user names it as a plug-in.
        """
        if not self.begun:
            raise UserError(f"{self} is not a run directory: it has no {self._config.name}")
        cfg = LazyConfig.load(self._config)
        load_plugins(cfg)
        return cfg

    @property
    def labels(self) -> dict[str, Any]:
        """The labels of the training; tables group certification logs by them."""
        labels = self.config.get("labels")
        return {} if labels is None else dict(OmegaConf.to_container(labels, resolve=True))  # type: ignore[arg-type]

    def weights(self, name: str = "final") -> Path:
        """Return the path of a file of weights.

        Args:
            name: ``"final"``, the name of a checkpoint in this run (such as ``"best"`` or a milestone), or a path.

        Raises:
            UserError: ``name`` is ``"final"``, and the training has not finished; or it is a file of another run, whose
                config is another one.
        """
        if name == "final":
            if not self.finished:
                raise UserError(
                    f"{self} has no {self._final.name}: the training has not finished; continue it with --resume,"
                    " or name a checkpoint"
                )
            return self._final
        named = self.checkpoints.file(name)
        if named.is_file():
            return named
        owner = run_of(Path(name))
        if owner is not None and owner.resolve() != self.path.resolve():
            raise UserError(f"{name} belongs to the run {owner}, and not to {self}: name that run instead")
        return Path(name)

    def model(self, weights: str, device: torch.device) -> Trainable:
        """Return the trainable module with its weights, in evaluation mode, on ``device``.

        Its ``export()`` returns the network itself: the classifier, or the autoencoder. The attention kernel is the one
        that the rules choose for ``device``, not that of the training.

        Args:
            weights: as for :meth:`weights`.
            device: device of the module.

        Raises:
            UserError: there is no run here, or the weights do not fit its model.
        """
        model = instantiate(with_attention(self.config.model, device, training=False))
        path = self.weights(weights)
        content = read_file(path)
        if "model" not in content:
            raise WeightsError(
                f"{path}: not a file of a run, it has no entry 'model': convert it with tools/convert_weights.py --to"
                " dmaelab"
            )
        facts = content.get(FACTS, {})
        check_heads(facts, model.export(), str(path))
        fill_exact(model.export(), unwrap(_state(content, weights)), str(path))
        name_classes(model.export(), facts, str(path))
        return model.eval().to(device)

    def dataset(self, split: str) -> Dataset:
        """Return the data set of the training: ``"train"``, without its transforms, or ``"test"``.

        Raises:
            UserError: there is no run here, or its data cannot be read.
        """
        dataset: Dataset = instantiate(self.config.data[split])
        return dataset

    def save_final(self, content: dict[str, Any]) -> None:
        """Write the final weights. From then on the run counts as :attr:`finished`."""
        save_file(self._final, content)

    def log_folder(self, name: str) -> Path:
        """Return ``<run>/certify/<name>``, the folder of a certification log."""
        return self.path / LOGS_FOLDER / name

    @contextmanager
    def occupied(self, cfg: DictConfig, resume: bool, allow_changes: bool = False) -> Iterator[None]:
        """Create the folder, and lock it against other trainings until the block ends.

        No file of the run is written here; :meth:`freeze` does this later. Temporary files that a killed training has
        left are deleted, unless the training is refused.

        Args:
            cfg: config of the training, not resolved.
            resume: whether to continue a run.
            allow_changes: whether to continue it with another config, or if its initial weights have changed since.
                Each of :meth:`changes` is then logged.

        Raises:
            UserError: another process trains in the folder; or the folder holds a run, and ``resume`` is False, or
                there are :meth:`changes` and ``allow_changes`` is False.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = UserError(f"train.out_dir {self} cannot be created: {error.strerror}")
            raise machine_error(error) or reason from None
        with self.hold() as locked:
            self.check_start(cfg, resume, allow_changes)
            if locked:
                remove_leftovers(self.path, r"config\.yaml|run\.json|model_final\.pth|metrics\.jsonl")
                remove_leftovers(self.checkpoints.path, r".+\.pth")
            yield

    def check_start(self, cfg: DictConfig, resume: bool, allow_changes: bool = False, advice: str = _GO_ON) -> None:
        """Check that a training may start here; arguments and errors are those of :meth:`occupied`.

        Args:
            advice: what to do about changes, the end of the message.
        """
        if not self.begun:
            return
        if not resume:
            raise UserError(f"{self} already holds a run: continue it with --resume, or choose another train.out_dir")
        changed, shown = self.changes(cfg), 3
        if changed and not allow_changes:
            more = f"; and {len(changed) - shown} more" if len(changed) > shown else ""
            raise UserError(
                f"{self} was begun with other settings ({listed(changed[:shown], 'there', 'now')}{more}): {advice}"
            )
        for change in changed:
            logger.warning("resuming with another config: %s", change.between("in the run", "now"))

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Lock the folder against other trainings until the block ends.

        The value of the block is whether it is locked: on a file system without locks this method only warns.

        Raises:
            UserError: another process trains in the folder.
        """
        with open(self.path / ".lock", "w") as file:
            # lockf, not flock: the lock belongs to this process alone. With flock, loader workers that outlive a
            # killed training would still hold it.
            try:
                locked = lock(file, fcntl.lockf)
            except BlockingIOError:
                raise UserError(
                    f"{self}: another process is training in it: wait for it, or choose another train.out_dir"
                ) from None
            yield locked

    def check_removable(self) -> None:
        """Check that this is a run directory, and that no process works in it, before it is deleted.

        Raises:
            UserError: the folder is no run directory, or another process trains in it.
        """
        leftovers = (".lock", "log.txt")  # of a start that failed
        if not self.begun and any(path.name not in leftovers for path in self.path.iterdir()):
            raise UserError(
                f"{self} is not deleted, because it has no {self._config.name} and so is no run directory: look what it"
                " is, and move it away"
            )
        with self.hold():
            pass

    def freeze(
        self, cfg: DictConfig, resume: bool, steps: int, from_step: int, started_from: Path | None = None
    ) -> None:
        """Write the frozen config ``config.yaml``, and add this start to ``run.json``.

        Call this after everything is built. Then a start that fails leaves no half-made run, and does not replace the
        config of an existing one.

        Args:
            cfg: a resolved training config.
            resume: whether this start was to continue a run (``--resume``).
            steps: length of the training in optimizer steps.
            from_step: number of steps that are finished at this start.
            started_from: file of the initial weights; its path and hash are recorded.
        """
        kept = cfg.copy()
        for name in NOT_OF_A_RUN:
            kept.pop(name, None)
        LazyConfig.save(kept, self._config)
        self.__dict__.pop("config", None)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        weights = {}
        if started_from is not None:
            weights = {"weights": str(started_from), "weights_hash": file_hash(started_from)}
        length = {"steps": steps, "from_step": from_step, "processes": world_size()}
        start = {"time": now, "resume": resume, **length, **weights, **environment()}
        write_json(self._starts, {"starts": [*self.starts(), start]})

    def starts(self) -> list[dict[str, Any]]:
        """Return the records of all starts so far, oldest first; empty if there is none.

        Each has the ``time``, whether it was a ``resume``, the length in ``steps``, the finished steps ``from_step``,
        the number of ``processes``, and command, versions, machine and state of the code. A start from initial weights
        has their path ``weights`` and their hash ``weights_hash``. Older records may lack some of these.
        """
        return json.loads(self._starts.read_text())["starts"] if self._starts.exists() else []

    def initial_weights(self) -> str | None:
        """Return the hash of the file of initial weights; None if there was none, or if it was not recorded.

        Only a start at step 0 reads and records initial weights, so the last record is that of the weights in use.
        """
        return next((start["weights_hash"] for start in reversed(self.starts()) if "weights_hash" in start), None)

    def changes(self, cfg: DictConfig) -> list[Difference]:
        """Return the differences between this run, which has begun, and a config that could change the trained weights.

        The initial weights are compared by the hash of their file, with the key :data:`WEIGHTS_HASH`. Then the path
        ``train.init_from`` does not count. The path is compared instead if the run has recorded no hash, or if the file
        does not exist, because it may have been deleted since.

        Args:
            cfg: a training config, not resolved.
        """
        changed = weight_changes(LazyConfig.load(self._config), cfg)
        began, file = self.initial_weights(), _initial_file(cfg)
        if began is None or file is None:
            return changed
        changed = [change for change in changed if change.key != "train.init_from"]
        now = file_hash(file)
        return changed if now == began else [*changed, Difference(WEIGHTS_HASH, began, now)]


def weights_of(source: str | Path) -> Path:
    """Return the file of weights of a source: the final weights of a run directory, or the file itself."""
    return RunDirectory(source).weights() if Path(source).is_dir() else Path(source)


def _initial_file(cfg: DictConfig) -> Path | None:
    """Return the file of weights that ``train.init_from`` names, or None if it does not exist on this machine."""
    source = cfg.train.get("init_from")
    if source is None:
        return None
    path = Path(source).expanduser()
    if path.is_dir() and not RunDirectory(path).finished:
        return None
    return weights_of(path) if path.exists() else None


def run_of(file: Path) -> Path | None:
    """Return the run directory that a file of weights belongs to, or None."""
    return next((folder for folder in file.resolve().parents[:2] if RunDirectory(folder).begun), None)


def is_selected(weights: str) -> bool:
    """Return whether ``weights`` names the checkpoint that a metric selected: ``best``, or a path to ``best.pth``."""
    return Path(weights).name in ("best", "best.pth")


def _state(content: dict[str, Any], weights: str) -> dict[str, torch.Tensor]:
    """Return the weights in the content of a checkpoint.

    For ``best`` these are the averaged weights, if the run kept an average, because the metric was measured on them.
    """
    average = content.get("hooks", {}).get(EMAHook.__name__)
    if not is_selected(weights) or average is None:
        return content["model"]
    return {name.removeprefix("module."): value for name, value in average.items() if name.startswith("module.")}
