"""dmaelab: denoising masked autoencoders, and classifiers certified by randomized smoothing.

The registries and the most used names can be imported from here. Each is loaded at its first use, so that
``import dmaelab`` does not import torch.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "BACKBONES": "dmaelab.modeling",
    "CERTIFIERS": "dmaelab.certifiers",
    "CORRUPTIONS": "dmaelab.corruptions",
    "DATASETS": "dmaelab.data",
    "LOSSES": "dmaelab.losses",
    "LazyCall": "dmaelab.config",
    "LazyConfig": "dmaelab.config",
    "SmoothedClassifier": "dmaelab.smoothing",
    "get_config": "dmaelab.config",
    "instantiate": "dmaelab.config",
}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'dmaelab' has no attribute '{name}'")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
