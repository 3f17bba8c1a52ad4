"""Configs: Python files with sections. A whole config is checked before any object is built from it."""

from dmaelab.config.call import LazyCall
from dmaelab.config.check import check
from dmaelab.config.instantiate import instantiate
from dmaelab.config.lazy import LazyConfig
from dmaelab.config.plain import diff
from dmaelab.config.targets import load_plugins, trust_plugins
from dmaelab.config.zoo import config_path, get_config, list_configs, open_config

__all__ = [
    "LazyCall",
    "LazyConfig",
    "check",
    "config_path",
    "diff",
    "get_config",
    "instantiate",
    "list_configs",
    "load_plugins",
    "open_config",
    "trust_plugins",
]
