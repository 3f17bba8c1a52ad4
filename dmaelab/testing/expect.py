"""Tools of the contract checks: assertions that name the checked class, and blocks that watch for side effects."""

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dmaelab.records.merge import identity_hash
from dmaelab.registry import Registry
from dmaelab.utils.arguments import KeepsArguments
from dmaelab.utils.errors import UserError
from dmaelab.utils.signatures import signature_of


class Expect:
    """``expect(condition, broken)`` raises ``AssertionError("<Class>: <broken>")`` unless the condition holds."""

    def __init__(self, entry: object) -> None:
        self.who = type(entry).__name__

    def __call__(self, condition: Any, broken: str) -> None:
        if not condition:
            raise AssertionError(f"{self.who}: {broken}")

    @contextmanager
    def isolation(self, *tensors: Tensor) -> Iterator[None]:
        """Raise if code in the block uses a global random generator, or changes one of ``tensors``."""
        before, copies = _global_states(), [tensor.detach().clone() for tensor in tensors]
        yield
        self(_global_states() == before, "it uses a global random generator; take all numbers from the draw")
        self(all(map(torch.equal, tensors, copies)), "it changes what it is given; write to a copy")

    def on_device(self) -> TorchDispatchMode:
        """Raise if code in the block reads values back to the host: on a GPU this waits for all queued work."""
        return _NoHostReads(self)


def check_options(expect: Expect, entry: KeepsArguments, registry: Registry) -> None:
    """Check that all options of an entry are recorded in the header of a log.

    Otherwise entries with different options would produce logs that look alike.
    """
    options = signature_of(type(entry), expect.who).parameters
    try:
        recorded = registry.name_and_options(entry)
        identity_hash(recorded)
    except UserError as error:
        raise AssertionError(f"{expect.who}: its options cannot be recorded in the header of a log: {error}") from error
    for name in options:
        expect(
            name in recorded,
            f"its option {name} is not recorded in the header of a log; its options() must return all arguments",
        )


def _global_states() -> bytes:
    numpy_state: Any = np.random.get_state()  # noqa: NPY002 - this checks the global generator
    return pickle.dumps((torch.get_rng_state().tolist(), random.getstate(), numpy_state[1].tolist(), numpy_state[2:]))


class _NoHostReads(TorchDispatchMode):
    def __init__(self, expect: Expect) -> None:
        super().__init__()
        self.expect = expect

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        reads = masked or name in ("_local_scalar_dense", "bincount", "masked_select", "nonzero")
        self.expect(
            not reads,
            "it reads values back to the host (.item(), if, a boolean index); stay on the device, as with torch.where",
        )
        return func(*args, **(kwargs or {}))
