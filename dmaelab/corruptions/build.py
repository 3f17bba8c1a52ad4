"""Corruptions by name."""

from dmaelab.registry import Registry, builder

CORRUPTIONS = Registry("corruption")
build_corruption = builder(CORRUPTIONS, __name__)
