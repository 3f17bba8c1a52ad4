"""Backbones by name."""

from dmaelab.registry import Registry, builder

BACKBONES = Registry("backbone")
build_backbone = builder(BACKBONES, __name__)
