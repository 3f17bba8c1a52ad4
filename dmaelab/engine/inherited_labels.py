"""Labels of trainings: what a fine-tuning inherits from what it starts from, and what has changed since a run."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dmaelab.engine import run_dir
from dmaelab.records.labels import INHERITED
from dmaelab.utils.distributed import is_main
from dmaelab.utils.errors import ConfigError

logger = logging.getLogger("dmaelab")


def inherit_labels(cfg: DictConfig) -> None:
    """Write into the labels of a training config, in place, how the weights that it starts from were pre-trained.

    What a run directory tells is so, whatever the config says; labels of the config speak for a file. A run that has
    begun knows it from its own frozen config: what it started from may be gone.

    Raises:
        ConfigError: what it starts from does not tell, and the config does not either: a table would call it what it is
            not.
    """
    if "labels" not in cfg:
        return
    out = Path(cfg.train.out_dir)
    begun = run_dir.load_run(out) if (out / run_dir.CONFIG).is_file() else None
    source = cfg.train.init_from if begun is None else begun.train.get("init_from")
    if source is None:
        if "method" in cfg.labels:
            _from_scratch(cfg.labels)
        return
    place = source if begun is None else out
    if Path(place).is_dir():
        labels = (begun or run_dir.load_run(place)).get("labels")
        _take(cfg.labels, {} if labels is None else OmegaConf.to_container(labels, resolve=True), place)
    if cfg.labels.get("pretrain") is None:
        raise ConfigError(
            f"labels.pretrain: say what {source} is, such as labels.pretrain=DMAE labels.epochs=1100: tables go by it"
        )


def other_labels(run: Path, cfg: DictConfig) -> list[str]:
    """Return the labels that a config gives and a run directory has otherwise, a line each; not what was never the
    config's to say.
    """
    source, there, here = cfg.train.get("init_from"), run_dir.load_run(run).get("labels") or {}, cfg.get("labels") or {}
    own = "method" not in here if source is None else Path(source).is_file()
    aside = () if own else (*INHERITED, "extra_data")
    differing = [name for name, value in here.items() if value not in (None, there.get(name)) and name not in aside]
    return [f"{name}={here[name]}, and {there.get(name)} there" for name in differing]


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
