"""Seed the global random generators, for code of others that uses them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def global_generators(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of torch (CPU), Python and numpy in the block, and restore them afterwards.

    ``seed`` has 64 bits. torchvision uses torch's generator (which keeps 32 bits of the seed), timm's RandAugment uses
    the other two. Seeding takes 90 us, most of it for numpy. ``torch.manual_seed`` is not used, because it seeds every
    device. If ``device`` is a CUDA device, its generator is seeded and restored, too.
    """
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index  # creates the generators
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    others = random.getstate(), np.random.get_state()  # noqa: NPY002
    for generator in generators:
        generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002 - it takes words of 32 bits
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        random.setstate(others[0])
        np.random.set_state(others[1])  # noqa: NPY002
