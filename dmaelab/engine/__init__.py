"""Training and certification from a config: trainer, hooks, run directories, and the ``run_*`` functions.

Only this package, and ``launch`` above it, read a whole config. All other packages get plain arguments.
"""

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
