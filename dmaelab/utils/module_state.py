"""What a forward may change in a module, kept so that it can be put back."""

from collections import OrderedDict, deque
from typing import Any

import torch
from torch import Tensor, nn

_CONTAINERS = (dict, list, set, deque, OrderedDict)


class ModuleState:
    """The attributes, modes, parts and tensors of a module at the time when this object is made.

    Tensors are copied, and so are the entries of attributes that are a dict, list, set or deque. An object of another
    kind, such as a random generator, is kept as a reference: what changes inside it stays changed.

    Args:
        module: the module; its parts are kept, too.
    """

    def __init__(self, module: nn.Module) -> None:
        parts = list(module.modules())
        self._modes = [(part, part.training) for part in parts]
        self._attributes = [(vars(part), dict(vars(part))) for part in parts]
        values = [value for _, attributes in self._attributes for value in attributes.values()]
        self._entries = [(value, value.copy()) for value in values if type(value) in _CONTAINERS]
        tensors = [*module.parameters(), *module.buffers(), *(value for value in values if isinstance(value, Tensor))]
        unique = {id(tensor): tensor for tensor in tensors if _can_be_copied(tensor)}
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in unique.values()]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back. Objects keep their identity: only their content is written."""
        for now, before in self._attributes:
            for name in now.keys() - before.keys():
                del now[name]
            now.update(before)
        for value, entries in self._entries:
            value.clear()
            (value.update if hasattr(value, "update") else value.extend)(entries)
        for part, training in self._modes:
            part.training = training
        for tensor, copy in self._tensors:
            if not identical(tensor, copy):
                tensor.copy_(copy)


def identical(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape and values; nan is equal to nan."""
    return torch.equal(one, other) or (
        one.shape == other.shape and one.is_floating_point() and torch.allclose(one, other, 0, 0, equal_nan=True)
    )


def buffers_of(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the buffers of a module by name."""
    return {name: buffer.clone() for name, buffer in module.named_buffers() if _can_be_copied(buffer)}


def _can_be_copied(tensor: Any) -> bool:
    """Return whether a tensor is an ordinary one. Sparse and quantised ones and foreign classes are left alone."""
    ordinary = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    return ordinary and not (tensor.is_quantized or tensor.is_meta)
