"""What a config leaves to defaults and to the rules of the device, written into a copy of it."""

from dataclasses import MISSING, fields

import torch
from omegaconf import DictConfig

from dmaelab.engine.settings import TrainSettings
from dmaelab.rules.attention import attention_rule
from dmaelab.rules.precision import precision_rule


def resolve(cfg: DictConfig, device: torch.device) -> DictConfig:
    """Return a training config that leaves nothing open, so that the frozen one tells how the run was trained.

    The defaults of the section ``train`` are written out, and ``auto`` becomes what the rules of the device choose for
    precision and attention.
    """
    cfg = with_defaults(cfg)
    if cfg.train.precision == "auto":
        cfg.train.precision = precision_rule(device.type)
    cfg.model = with_attention(cfg.model, device, training=True)
    return cfg


def with_defaults(cfg: DictConfig) -> DictConfig:
    """Return a copy of a training config with the defaults of the section ``train`` written out."""
    cfg = cfg.copy()
    for field in fields(TrainSettings):
        if field.name not in cfg.train:
            cfg.train[field.name] = field.default_factory() if field.default_factory is not MISSING else field.default
    return cfg


def with_attention(node: DictConfig, device: torch.device, training: bool) -> DictConfig:
    """Return a copy of a model's config in which each ``attention`` names the kernel that the device's rule chooses.

    A training keeps a kernel that the config names itself. An evaluation always takes the rule's: what was fastest for
    the device of the training says nothing about this one.
    """
    node = node.copy()
    for key, value in node.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            node[key] = with_attention(value, device, training)
        elif key == "attention" and (value == "auto" or not training):
            node[key] = attention_rule(device.type, training)
    return node
