"""Seed the global random generators, for transforms that use them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (CPU), Python and numpy in the block, and restore them afterwards.

    ``seed`` has 64 bits. torchvision uses torch's generator (which keeps 32 bits of the seed), timm's RandAugment uses
    the other two. Seeding takes 90 us, most of it for numpy. ``torch.manual_seed`` is not used, because it seeds every
    device.
    """
    states = torch.default_generator.get_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002 - it takes words of 32 bits
    try:
        yield
    finally:
        torch.default_generator.set_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])  # noqa: NPY002
