"""run_training: one training or evaluation from a config."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmaelab.config import check, instantiate
from dmaelab.engine import run_dir
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.evaluation import evaluate
from dmaelab.engine.inherited_labels import inherit_labels
from dmaelab.engine.settings import TrainSettings
from dmaelab.records.labels import CONFIG_SECTION
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


SECTIONS = {"train": TrainSettings, "data": DataSettings, "labels": CONFIG_SECTION}
_NODES = ("model", "optimizer", "schedule")


def check_training(cfg: DictConfig) -> None:
    """Check a whole training config without building anything; ConfigError, one line, for the first fault."""
    for name in (*_NODES, "train", "data"):
        if name not in cfg:
            for section, what in (
                ("certify", "a certification: use tools/certify.py"),
                ("stages", "a pipeline: use tools/pipeline.py"),
            ):
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
    if is_main():
        setup_logging()
    with run_dir.occupied(cfg, resume) if is_main() else nullcontext():
        if is_main():
            setup_logging(Path(cfg.train.out_dir))
        barrier()
        trainer = DefaultTrainer(cfg, resume)
        if is_main():
            run_dir.freeze(cfg, resume, trainer.started_from)
        trainer.train()
        result = trainer.evaluation.latest or trainer.evaluate()
    logger.info("finished %s: %s", trainer.out_dir, "  ".join(f"{name} {value:.4g}" for name, value in result.items()))
    return result


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
