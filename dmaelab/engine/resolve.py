"""Resolving a config: writes defaults, and the choices that depend on the device, into a copy of it."""

from dataclasses import MISSING, fields

import torch
from omegaconf import DictConfig

from dmaelab.engine.settings import TrainSettings
from dmaelab.rules.attention import attention_rule
from dmaelab.rules.precision import precision_rule


def resolve(cfg: DictConfig, device: torch.device) -> DictConfig:
    """Return a copy of a training config with all defaults and all ``auto`` values filled in.

    The run directory keeps this copy, so that it shows how the run was really trained. The defaults of the section
    ``train`` are written out. ``auto`` for precision and attention is replaced by the choice of the rules for
    ``device``.
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
    """Return a copy of a model's config in which each key ``attention`` names a kernel.

    In a training, ``auto`` becomes the kernel that the rule chooses for ``device``, and a kernel that the config names
    is kept. An evaluation always takes the kernel of the rule: the fastest kernel on the training's device need not be
    the fastest on this one.
    """
    node = node.copy()
    for key, value in node.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            node[key] = with_attention(value, device, training)
        elif key == "attention" and (value == "auto" or not training):
            node[key] = attention_rule(device.type, training)
    return node
