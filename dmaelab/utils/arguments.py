"""What an object was built with: the arguments of its constructor by name, as plain values that a log can hold."""

import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Self

from dmaelab.utils.errors import UserError


class KeepsArguments:
    """Base of classes whose objects a log tells apart by the arguments of their constructors.

    The arguments are kept before the constructor runs. So none of them is forgotten, whatever the constructor makes of
    it and under whatever name it stores it, and it does not matter who builds the object.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the object, and keep what its constructor is about to get."""
        made = super().__new__(cls)
        # Past any __setattr__ of a subclass, which may need a constructor that has run.
        object.__setattr__(made, "_arguments", plain(_bound(cls, args, kwargs)))
        return made

    def options(self) -> dict[str, Any]:
        """Return the arguments of the constructor by name, defaults written out, as plain values that JSON can hold.

        Keyword arguments that a constructor hands on (``**kwargs``) stand under their own names. A subclass may replace
        a value by the form that its constructor made of it, so that two ways to write one value are one option.

        Raises:
            UserError: an argument is no plain value.
        """
        arguments: dict[str, Any] = vars(self)["_arguments"]
        for name, value in arguments.items():
            if not is_plain(value):
                raise UserError(
                    f"{type(self).__name__} was built with {name} = {value!r}, which no log can hold: give numbers,"
                    " text, bool, None, and lists or dicts of these"
                )
        return dict(arguments)


def plain(value: Any) -> Any:
    """Return the value as JSON will give it back: tuples become lists, numbers of numpy those of Python.

    What JSON cannot hold stays as it is; :func:`is_plain` tells.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, Sequence) else value


def is_plain(value: Any) -> bool:
    """Whether a value consists of None, bool, int, float, text, lists and dicts with text as keys alone."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def _bound(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return by name what the constructor of a class gets, its defaults included.

    What a constructor takes as ``*args`` and ``**kwargs`` is bound to the constructor of the next class of the MRO as
    well, to which it is usually handed on. ``*args`` are kept under their own name too, in case they are not.
    """
    constructors = [vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)]
    found: dict[str, Any] = {}
    for constructor in constructors:
        signature = inspect.signature(constructor)
        try:
            bound = signature.bind_partial(None, *args, **kwargs)
        except TypeError:  # the constructor will refuse them itself, or one before it has taken some out
            break
        bound.apply_defaults()
        args, kwargs, open_ended = (), {}, False
        for name, value in list(bound.arguments.items())[1:]:  # without self
            form = signature.parameters[name].kind
            open_ended |= form in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            if form is inspect.Parameter.VAR_POSITIONAL:
                args = value
                found |= {name: value} if value else {}
            elif form is inspect.Parameter.VAR_KEYWORD:
                kwargs = value
            else:
                found.setdefault(name, value)
        if not open_ended:
            return found
    return {**kwargs, **found}
