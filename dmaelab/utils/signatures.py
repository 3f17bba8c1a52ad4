"""Which keyword arguments a class or function accepts."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Signature:
    """The keyword arguments that a callable accepts.

    Attributes:
        label: name of the callable in messages.
        parameters: its parameters by name, without ``*args`` and ``**kwargs``.
        accepts_all: whether it accepts any other name too: it has ``**kwargs``, or its signature is unknown.
        returns: the annotation of what it returns; the class itself if it is a class, ``object`` if nothing is known.
    """

    label: str
    parameters: dict[str, inspect.Parameter]
    accepts_all: bool
    returns: Any = object

    @property
    def required(self) -> list[str]:
        """The names of the arguments without a default."""
        return [name for name, parameter in self.parameters.items() if parameter.default is parameter.empty]

    def accepted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the given keyword arguments that the callable accepts."""
        return {name: value for name, value in arguments.items() if self.accepts_all or name in self.parameters}


def signature_of(target: Callable[..., Any] | inspect.Signature, label: str) -> Signature:
    """Return the keyword arguments that a class (its constructor), a function or a Python signature accepts."""
    if isinstance(target, inspect.Signature):
        return _by_keyword(target, label)
    try:
        found = _by_keyword(inspect.signature(target, eval_str=True), label)
    except NameError:  # an annotation uses a name that only type checkers import
        found = _by_keyword(inspect.signature(target), label)
    except (TypeError, ValueError):  # some built-in functions have no signature
        found = Signature(label, {}, True)
    return replace(found, returns=target) if isinstance(target, type) else found


def _by_keyword(signature: inspect.Signature, label: str) -> Signature:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: parameter for name, parameter in signature.parameters.items() if parameter.kind in kinds}
    accepts_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    returns = signature.return_annotation
    return Signature(label, named, accepts_all, object if returns is signature.empty else returns)
