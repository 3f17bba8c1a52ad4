"""Find the part of a module at which two forwards begin to differ."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class Call(NamedTuple):
    """One call of a part: the sums over each row of the tensors that went in and came out."""

    name: str
    number: int  # how many calls of this part have ended before
    part: nn.Module
    inputs: list[Tensor]  # float64 [rows] each
    outputs: list[Tensor]


@contextmanager
def traced(module: nn.Module, rows: int) -> Iterator[list[Call]]:
    """Yield a list to which each call of a part of ``module`` in the block is added, in the order in which they end.

    Args:
        module: the module that is called in the block; parts that run as TorchScript are not seen.
        rows: rows of its batch. Tensors without this number of rows are left out, but flattened ones [rows*L,...] are
            not.
    """
    calls: list[Call] = []
    begun: list[list[Tensor]] = []
    hooks = []
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue

        def begin(_: nn.Module, args: Any, kwargs: Any) -> None:
            begun.append(_sums((args, kwargs), rows))

        def end(part: nn.Module, _: Any, output: Any, name: str = name) -> None:
            number = sum(call.name == name for call in calls)
            calls.append(Call(name, number, part, begun.pop(), _sums(output, rows)))

        hooks += [part.register_forward_pre_hook(begin, with_kwargs=True), part.register_forward_hook(end)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def first_difference(calls: list[Call], others: list[Call], rows: Tensor, other_rows: Tensor) -> str:
    """Return the innermost part that turned equal inputs into different outputs, such as ``", in '1' (BatchNorm2d)"``.

    Args:
        calls: the calls of one forward.
        others: the calls of another forward.
        rows: int64 [M], the rows of the first forward to compare.
        other_rows: int64 [M], the rows of the other forward that belong to them.

    Returns:
        An empty text if there is no such part.
    """

    def equal(some: list[Tensor], other: list[Tensor]) -> bool:
        pairs = zip(some, other, strict=False)
        return all(torch.allclose(a[rows], b[other_rows], 0, 0, equal_nan=True) for a, b in pairs)

    same = {(call.name, call.number): call for call in others}
    for one in calls:
        other = same.get((one.name, one.number))
        if other and equal(one.inputs, other.inputs) and not equal(one.outputs, other.outputs):
            mode = ", in training mode" if one.part.training else ""
            name = one.name.removeprefix("_orig_mod").removeprefix(".")
            return f", in '{name}' ({type(one.part).__name__}{mode})" if name else ", in its own forward"
    return ""


def _sums(values: Any, rows: int) -> list[Tensor]:
    tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor) and value.ndim and value.numel()]
    return [t.detach().double().reshape(rows, -1).sum(1) for t in tensors if len(t) % rows == 0]
