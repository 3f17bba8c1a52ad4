"""Labels of trainings: what a fine-tuning inherits from what it starts from, and what has changed since a run."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmaelab.engine.run_dir import RunDirectory
from dmaelab.records.labels import INHERITED
from dmaelab.utils.differences import Difference
from dmaelab.utils.distributed import is_main
from dmaelab.utils.errors import ConfigError

logger = logging.getLogger("dmaelab")


def inherit_labels(cfg: DictConfig) -> DictConfig:
    """Return a training config whose labels say how the weights that it starts from were pre-trained.

    If the training starts from a run directory, the labels of that directory win over those of the config. If it
    starts from a bare file, the config's labels are used. A run that has begun takes them from its own frozen config,
    since what it started from may be gone.

    Raises:
        ConfigError: what it starts from does not tell, and the config does not either: a table would call it what it is
            not.
    """
    if "labels" not in cfg:
        return cfg
    cfg, run = cfg.copy(), RunDirectory(cfg.train.out_dir)
    source = run.config.train.get("init_from") if run.begun else cfg.train.init_from
    if source is None:
        if "method" in cfg.labels:
            _from_scratch(cfg.labels)
        return cfg
    teller = run if run.begun else RunDirectory(source)
    if teller.path.is_dir():
        _take(cfg.labels, teller.labels, teller.path)
    if cfg.labels.get("pretrain") is None:
        raise ConfigError(
            f"labels.pretrain: say what {source} is, such as labels.pretrain=DMAE labels.epochs=1100: tables go by it"
        )
    return cfg


def other_labels(run: RunDirectory, cfg: DictConfig) -> list[Difference]:
    """Return the labels that a config gives and that the run in a directory has otherwise.

    Labels that the run inherited are left out: they were never the config's to say.
    """
    source, there, here = cfg.train.get("init_from"), run.config.get("labels") or {}, cfg.get("labels") or {}
    own = "method" not in here if source is None else Path(source).is_file()
    aside = () if own else (*INHERITED, "extra_data")
    differing = [name for name, value in here.items() if value not in (None, there.get(name)) and name not in aside]
    return [Difference(name, there.get(name), here[name]) for name in differing]


def _from_scratch(labels: DictConfig) -> None:
    for name in INHERITED:
        labels.pop(name, None)
    if "extra_data" in labels:
        labels.extra_data = False


def _take(labels: DictConfig, told: Any, place: str | Path) -> None:
    """Give the labels of a config those that a run tells, with a word where it said another."""
    known = {name: told[name] for name in INHERITED if told.get(name) is not None}
    if "pretrain" in known and "method" in labels:
        known.setdefault("continued", False)  # a pre-training that went on says so
    for name, value in known.items():
        said = labels.get(name)
        if said not in (None, value) and is_main():
            logger.warning("labels.%s is %s in the config, and %s in %s, which holds", name, said, value, place)
        labels[name] = value
    if labels.get("continued") is False:
        del labels["continued"]
