"""Compare two training configs: which differences could change the trained weights?"""

from omegaconf import DictConfig

from dmaelab.config import diff
from dmaelab.config.imports import current_name
from dmaelab.engine.resolve import resolve, with_defaults
from dmaelab.utils.differences import Difference
from dmaelab.utils.distributed import named_device

NOT_OF_A_RUN = ("debug", "slurm")
"""Sections of a config that say how it is tried or started; a run directory does not keep them."""

# Keys of the section `train` that have no effect on the weights.
_NEUTRAL = (
    "out_dir",
    "device",
    "num_workers",
    "data_timeout",
    "stop_grace",
    "log_period",
    "checkpoint_period",
    "keep_checkpoints",
    "tensorboard",
    "eval_batch_size",
    "ignore_class_names",
)


def weight_changes(frozen: DictConfig, cfg: DictConfig) -> list[Difference]:
    """Return the differences between the frozen config of a run and ``cfg`` that could change the trained weights.

    Left out are keys that do not change the weights: labels, the periods of logging and saving, loader workers, the
    place of the folder, and evaluation (unless ``train.best_metric`` selects a checkpoint by it). The device and the
    choices that depend on it (attention kernel, precision ``auto``) are left out as well.
    """
    # A command may submit the training from a machine that does not have its device.
    asked = resolve(cfg, named_device(cfg.train.get("device", "auto")))
    neutral = [f"train.{name}" for name in _NEUTRAL]
    if cfg.train.get("precision", "fp32") == "auto":
        neutral.append("train.precision")
    if asked.train.best_metric is None:
        neutral += ["train.eval_period", "train.eval_images"]
    return [
        change
        for change in diff(with_defaults(frozen), asked)  # an older frozen config may lack newer options
        if change.key not in neutral
        and change.key.split(".")[0] not in ("labels", *NOT_OF_A_RUN)
        and change.key.split(".")[-1] != "attention"
        and not _is_move(change)
    ]


def _is_move(change: Difference) -> bool:
    """Return whether a difference is only that a class has moved to another module since the config was frozen."""
    names = (change.there, change.here)
    is_target = change.key.split(".")[-1] == "_target_" and all(isinstance(name, str) for name in names)
    return is_target and current_name(change.there) == current_name(change.here)
