"""Record the constructor arguments of an object by name, as plain values that can be written to a log."""

import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Self

from dmaelab.utils.errors import UserError


class KeepsArguments:
    """Base class that records the constructor arguments of its objects.

    Logs use them to tell objects apart. The arguments are recorded before the constructor runs, so the record is
    complete whatever the constructor does with them and whoever builds the object.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the object and record the arguments that its constructor will get."""
        made = super().__new__(cls)
        # object.__setattr__: the __setattr__ of a subclass, such as nn.Module, may need its constructor to have run.
        object.__setattr__(made, "_arguments", json_value(_bound(cls, args, kwargs)))
        return made

    def options(self) -> dict[str, Any]:
        """Return the constructor arguments by name, defaults included, as plain values that JSON can store.

        Keyword arguments that a constructor passes on (``**kwargs``) appear under their own names. If the object has a
        plain attribute of the same name, the attribute is taken instead of the argument. It holds the normal form of
        the value, so that two ways to write one value give equal options, and the new value if somebody changed it.

        Raises:
            UserError: an argument is not a plain value.
        """
        attributes = {name: json_value(value) for name, value in vars(self).items()}
        arguments: dict[str, Any] = {
            name: attributes[name] if is_plain(attributes.get(name, self)) else value
            for name, value in attributes.pop("_arguments").items()
        }
        for name, value in arguments.items():
            if not is_plain(value):
                raise UserError(
                    f"{type(self).__name__} was built with {name} = {value!r}, which cannot be written to a log: use"
                    " numbers, text, bool, None, and lists or dicts of these"
                )
        return dict(arguments)


def json_value(value: Any) -> Any:
    """Return the value as it would come back from JSON: tuples become lists, numpy numbers become Python numbers.

    A value that JSON cannot store is returned unchanged. Use :func:`is_plain` to test for that.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {key: json_value(item) for key, item in value.items()}
    return [json_value(item) for item in value] if isinstance(value, Sequence) else value


def is_plain(value: Any) -> bool:
    """Return whether a value consists only of None, bool, int, float, text, lists, and dicts with text keys."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def _bound(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the constructor of ``kind`` by name, defaults included.

    If a constructor takes ``*args`` and ``**kwargs``, they are bound to the constructor of the next class of the MRO,
    because constructors usually pass them on. ``*args`` are also kept under their own name, in case this one does not.
    """
    constructors = [vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)]
    found: dict[str, Any] = {}
    for constructor in constructors:
        signature = inspect.signature(constructor)
        try:
            bound = signature.bind_partial(None, *args, **kwargs)
        except TypeError:  # this constructor will refuse them itself, or an earlier one does not pass on all of them
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
