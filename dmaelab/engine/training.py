"""run_training: one training or evaluation from a config."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dmaelab.config import check, instantiate
from dmaelab.engine import run_dir
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.evaluation import evaluate
from dmaelab.engine.settings import TrainSettings, label_section
from dmaelab.utils.distributed import barrier, is_main, pick_device
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.logs import setup_logging

logger = logging.getLogger("dmaelab")


@dataclass(frozen=True)
class DataSettings:
    """The section ``data`` of a training config.

    Attributes:
        train: data set to train on.
        test: data set to evaluate and certify on.
        transform: applied to each training image in the loader's workers.
        augment: applied to each training batch.
    """

    train: Any
    test: Any
    transform: Sequence = ()
    augment: Sequence = ()


SECTIONS = {"train": TrainSettings, "data": DataSettings, "labels": label_section}
_NODES = ("model", "optimizer", "schedule")
_INHERITED = ("pretrain", "epochs", "continued")


def check_training(cfg: DictConfig) -> None:
    """Check a whole training config without building anything; ConfigError, one line, for the first fault."""
    for name in (*_NODES, "train", "data"):
        if name not in cfg:
            for section, what in (("certify", "a certification: use tools/certify.py"), ("stages", "a pipeline: use tools/pipeline.py")):
                if section in cfg:
                    raise ConfigError(f"this config is {what}")
            raise ConfigError(f"{name}: a training config needs this section")
    check(cfg, sections=SECTIONS, allowed=(*_NODES, "debug"), extra={"optimizer": ["model"]})
    TrainSettings(**instantiate(cfg.train))


def run_training(cfg: DictConfig, resume: bool = False) -> dict[str, float]:
    """Train as the config says, in ``train.out_dir``, and return the last evaluation.

    Raises:
        UserError: bad input, in one line.
        Preempted: a signal asked the run to stop; its state is saved.
    """
    check_training(cfg)
    run_dir.resolve(cfg, pick_device(cfg.train.get("device", "auto")))
    inherit_labels(cfg)
    with contextlib.ExitStack() as held:
        if is_main():
            setup_logging()
            out = run_dir.prepare(cfg, resume)
            held.enter_context(run_dir.hold(cfg))
            setup_logging(out)
        barrier()
        trainer = DefaultTrainer(cfg, resume)
        if is_main():
            run_dir.freeze(cfg, resume, trainer.started_from)
        trainer.train()
        result = trainer.evaluation.latest or trainer.evaluate()
    logger.info("finished %s: %s", trainer.out_dir, "  ".join(f"{name} {value:.4g}" for name, value in result.items()))
    return result


def inherit_labels(cfg: DictConfig) -> None:
    """Write into the labels of a config, in place, how the weights that it starts from were pre-trained.

    What a run directory tells is so, whatever the config says; labels of the config speak for a file. A run that has
    begun knows it from its own frozen config: what it started from may be gone.

    Raises:
        ConfigError: what it starts from does not tell, and the config does not either: a table would call it what it is not.
    """
    source = cfg.train.init_from
    if "labels" not in cfg:
        return
    if source is None and "method" in cfg.labels:  # from scratch
        for name in _INHERITED:
            cfg.labels.pop(name, None)
        if "extra_data" in cfg.labels:
            cfg.labels.extra_data = False
        return
    begun = (Path(cfg.train.out_dir) / run_dir.CONFIG).is_file()
    known: Any = {}
    if begun or (source is not None and Path(source).is_dir()):
        told = run_dir.load_run(cfg.train.out_dir if begun else source).get("labels")
        known = OmegaConf.to_container(told or OmegaConf.create(), resolve=True)
        if "method" in cfg.labels and "pretrain" in known:
            known.setdefault("continued", None)
    for name in _INHERITED:
        if name in known:
            _take_label(cfg, name, known[name])
    if source is not None and cfg.labels.get("pretrain") is None:
        raise ConfigError(f"labels.pretrain: say what {source} is, such as labels.pretrain=DMAE labels.epochs=1100: tables go by it")


def _take_label(cfg: DictConfig, name: str, told: Any) -> None:
    """Give a config the label that a run tells, None for none, with a word where it said another."""
    said = cfg.labels.get(name)
    if said not in (None, False, told):
        logger.warning("labels.%s is %s in the config, and %s by the run that it starts from, which holds", name, said, told)
    if told is None:
        cfg.labels.pop(name, None)
    else:
        cfg.labels[name] = told


def run_evaluation(cfg: DictConfig, weights: str = "final") -> dict[str, float]:
    """Evaluate the model of the finished run ``train.out_dir`` on ``data.test``; nothing is written."""
    check_training(cfg)
    setup_logging()
    device = pick_device(cfg.train.get("device", "auto"))
    run_dir.resolve(cfg, device)
    settings = TrainSettings(**instantiate(cfg.train))
    model = run_dir.load_model(settings.out_dir, weights, device)
    result = evaluate(model, instantiate(cfg.data.test), settings, device)
    for name, value in result.items():
        logger.info("%s %.5g", name, value)
    return result
