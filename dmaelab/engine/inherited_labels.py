"""Labels of trainings: what a fine-tuning inherits from its initial weights, and how a config differs from its run."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmaelab.engine.run_dir import RunDirectory
from dmaelab.records.labels import CONTINUED, EXTRA_DATA, INHERITED, METHOD, PRETRAIN
from dmaelab.utils.differences import Difference
from dmaelab.utils.distributed import is_main
from dmaelab.utils.errors import ConfigError

logger = logging.getLogger("dmaelab")


def inherit_labels(cfg: DictConfig) -> DictConfig:
    """Return a copy of a training config whose labels say how its initial weights were pre-trained.

    If the training starts from a run directory, the labels of that directory win over those of the config. If it
    starts from a bare file, the config's labels are used. If the run has already begun, the labels of its own frozen
    config are used, because the initial weights may have been deleted since.

    Raises:
        ConfigError: neither the initial weights nor the config say how the weights were pre-trained. A table would
            then put the model into a wrong row.
    """
    if "labels" not in cfg:
        return cfg
    cfg, run = cfg.copy(), RunDirectory(cfg.train.out_dir)
    source = run.config.train.get("init_from") if run.begun else cfg.train.init_from
    if source is None:
        if METHOD in cfg.labels:
            _from_scratch(cfg.labels)
        return cfg
    teller = run if run.begun else RunDirectory(source)
    if teller.path.is_dir():
        _take(cfg.labels, teller.labels, teller.path)
    if cfg.labels.get(PRETRAIN) is None:
        raise ConfigError(
            f"labels.pretrain: say what {source} is, such as labels.pretrain=DMAE labels.epochs=1100; tables need it"
        )
    return cfg


def other_labels(run: RunDirectory, cfg: DictConfig) -> list[Difference]:
    """Return the labels whose values in a config differ from those of the run.

    Labels that the run inherited from its initial weights are left out, because the config does not decide them.
    """
    source, there, here = cfg.train.get("init_from"), run.config.get("labels") or {}, cfg.get("labels") or {}
    own = METHOD not in here if source is None else Path(source).is_file()
    aside = () if own else (*INHERITED, EXTRA_DATA)
    differing = [name for name, value in here.items() if value not in (None, there.get(name)) and name not in aside]
    return [Difference(name, there.get(name), here[name]) for name in differing]


def _from_scratch(labels: DictConfig) -> None:
    for name in INHERITED:
        labels.pop(name, None)
    if EXTRA_DATA in labels:
        labels[EXTRA_DATA] = False


def _take(labels: DictConfig, told: Any, place: str | Path) -> None:
    """Overwrite the labels of a config with the inherited ones of a run; warn if a value changes."""
    known = {name: told[name] for name in INHERITED if told.get(name) is not None}
    if PRETRAIN in known and METHOD in labels:
        known.setdefault(CONTINUED, False)  # a continued pre-training has this label; without it the answer is no
    for name, value in known.items():
        said = labels.get(name)
        if said not in (None, value) and is_main():
            logger.warning("labels.%s is %s in the config, but %s in %s, which is used", name, said, value, place)
        labels[name] = value
    if labels.get(CONTINUED) is False:
        del labels[CONTINUED]
