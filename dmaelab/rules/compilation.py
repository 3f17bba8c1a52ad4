"""Whether to compile a network with torch.compile, and how its repeated blocks are compiled."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import nn

Compile = bool | Literal["blocks"]
"""The values allowed in a config: False (no compilation), True (the whole module), "blocks" (its repeated blocks)."""


def compile_rule(device_type: str) -> Compile:
    """Return whether certification compiles the network by default: False on CPU and CUDA.

    CPU: compilation makes it 3 to 26 % faster, but needs a C++ compiler and up to half a minute at the start of every
    shard. CUDA: not measured yet. Measured by ``python -m benchmarks.evaluation``.
    """
    return False


def compile_blocks(module: nn.Module) -> int:
    """Compile the repeated blocks of a network in place and return their number, 0 if there are none.

    Repeated blocks are the children of a ``ModuleList`` or ``Sequential`` if all have the same class and contain
    modules themselves, such as the blocks of a ViT or a ResNet. All blocks of the same shape share one compilation, so
    that a deep network starts as fast as a shallow one. Parameter names and weights do not change.
    """
    blocks = [block for block in _blocks(module) if not is_compiled_block(block)]
    for block in blocks:
        block.compile()
    return sum(1 for _ in _blocks(module))


def compiled_as(module: nn.Module) -> Compile:
    """Return how a module has been compiled: ``True`` as a whole, ``"blocks"``, or ``False``."""
    if hasattr(module, "_orig_mod") or is_compiled_block(module):
        return True
    return "blocks" if any(map(is_compiled_block, module.modules())) else False


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled and scripted modules as they were written in the block, so that nothing is compiled for it."""
    # Whatever is compiled has loaded dynamo, which takes a second.
    eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    with eager, torch.jit.optimized_execution(False):
        yield


def is_compiled_block(module: nn.Module) -> bool:
    """Return whether ``module.compile()`` has been called."""
    return getattr(module, "_compiled_call_impl", None) is not None


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    children = list(module.children())
    alike = len({type(child) for child in children}) == 1 and all(
        next(child.children(), None) is not None for child in children
    )
    if alike and (isinstance(module, nn.ModuleList) or (isinstance(module, nn.Sequential) and len(children) > 1)):
        yield from children
    else:
        for child in children:
            yield from _blocks(child)
