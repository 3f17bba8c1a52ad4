"""Training and certification from a config: trainer, hooks, run directories, and certifications.

Only this package, and ``launch`` above it, read a whole config. All other packages get plain arguments.
"""

from dmaelab.engine.certification import Certification, open_certification
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.hooks.base import Hook
from dmaelab.engine.trainer import Trainer
from dmaelab.engine.training import check_training, run_evaluation, run_training

__all__ = [
    "Certification",
    "DefaultTrainer",
    "Hook",
    "Trainer",
    "check_training",
    "open_certification",
    "run_evaluation",
    "run_training",
]
