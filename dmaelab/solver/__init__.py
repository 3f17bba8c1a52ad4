"""Optimizers, parameter groups and schedules."""

from dmaelab.solver.optimizers import build_adamw
from dmaelab.solver.param_groups import param_groups
from dmaelab.solver.schedules import warmup_cosine

__all__ = ["build_adamw", "param_groups", "warmup_cosine"]
