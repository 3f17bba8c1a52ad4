"""The hooks of a training, one in each file. ``engine/defaults.py`` decides their order."""

from dmaelab.engine.hooks.checkpointing import BestHook, CheckpointHook
from dmaelab.engine.hooks.ema import EMAHook
from dmaelab.engine.hooks.evaluation import EvalHook
from dmaelab.engine.hooks.folder import FolderGuard
from dmaelab.engine.hooks.guard import NaNGuard
from dmaelab.engine.hooks.logging import LogHook
from dmaelab.engine.hooks.preemption import PreemptionHook
from dmaelab.engine.hooks.schedule import ScheduleHook
from dmaelab.engine.hooks.throughput import ThroughputHook

__all__ = [
    "BestHook",
    "CheckpointHook",
    "EMAHook",
    "EvalHook",
    "FolderGuard",
    "LogHook",
    "NaNGuard",
    "PreemptionHook",
    "ScheduleHook",
    "ThroughputHook",
]
