"""The global generators, for transforms that know no other."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Set the global generators of torch (CPU), Python and numpy from a 64-bit seed; put them back after.

    torchvision draws from the first (which keeps 32 bits of the seed), timm's RandAugment from the other
    two. It takes 90 us, most of them numpy's; ``torch.manual_seed`` would visit every device besides.
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
