"""Trainer, hooks, run directories, and the entries that see a whole config."""

from dmaelab.engine.certification import certification_config, run_certification
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.trainer import Hook, Trainer
from dmaelab.engine.training import check_training, run_evaluation, run_training

__all__ = [
    "DefaultTrainer",
    "Hook",
    "Trainer",
    "certification_config",
    "check_training",
    "run_certification",
    "run_evaluation",
    "run_training",
]
