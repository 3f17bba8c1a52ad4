"""Optimizers, parameter groups and learning-rate schedules."""

from dmaelab.solver.lars import LARS, build_lars
from dmaelab.solver.optimizers import build_adamw
from dmaelab.solver.param_groups import param_groups
from dmaelab.solver.schedules import scaled_lr, warmup_cosine, warmup_cosine_epochs

__all__ = ["LARS", "build_adamw", "build_lars", "param_groups", "scaled_lr", "warmup_cosine", "warmup_cosine_epochs"]
