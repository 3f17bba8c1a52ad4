"""Data sets by name."""

from dmaelab.registry import Registry, builder

DATASETS = Registry("dataset")
build_dataset = builder(DATASETS, __name__)
