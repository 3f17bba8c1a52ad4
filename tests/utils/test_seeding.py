import random

import numpy as np
import pytest
import torch

from dmaelab.utils.seeding import global_generators


def numbers():
    return (
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),  # noqa: NPY002
        np.random.randn(),  # noqa: NPY002
        torch.rand(1).item(),
        torch.randn(1).item(),
    )


def test_same_seed_same_numbers_and_high_bits_count():
    def inside(seed):
        with global_generators(seed):
            return numbers()

    assert inside(2**63 + 5) == inside(2**63 + 5)
    different = [inside(seed) for seed in (5, 6, 2**40 + 5, 2**63 + 5)]
    for values in list(zip(*different, strict=True))[:4]:  # Python's and numpy's: torch's keeps 32 bits
        assert len(set(values)) == 4
    assert inside(5)[4:] != inside(6)[4:]


@pytest.mark.parametrize("fails", [False, True])
def test_the_generators_are_put_back(fails):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    numbers()  # leaves a cached half of a normal pair in numpy and Python
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = numbers()
    random.setstate(before[0])
    np.random.set_state(before[1])  # noqa: NPY002
    torch.set_rng_state(before[2])
    try:
        with global_generators(7):
            assert numbers() != expected
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert numbers() == expected
