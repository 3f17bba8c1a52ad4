"""Backbones by name."""

from dmaelab.registry import Registry, builder

BACKBONES = Registry("backbone")
build_backbone = builder(BACKBONES)
build_backbone.__module__ = __name__
