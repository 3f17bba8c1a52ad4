"""Losses by name."""

from dmaelab.registry import Registry, builder

LOSSES = Registry("loss")
build_loss = builder(LOSSES, __name__)
