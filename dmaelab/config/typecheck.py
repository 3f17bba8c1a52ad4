"""Check whether a plain value fits a type annotation."""

import inspect
import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_UNIONS = (Union, types.UnionType)
_CONTAINERS = (list, tuple, dict, Sequence, Iterable, Mapping)


Builds = Callable[[dict[str, Any]], Any]
"""Function: a node with a ``_target_`` -> the class or annotation of what it builds."""

Node = Annotated[Any, "holds nodes"]
"""Annotation of a key of a plain section: unlike all others it may hold nodes with a ``_target_``."""


def fits(value: Any, annotation: Any, builds: Builds = lambda node: object) -> bool:
    """Return whether ``value`` fits an argument with this annotation.

    An int fits float, and a list fits tuple. A bool fits neither int nor float, and text fits only ``str``. A node with
    a ``_target_`` fits an annotation of plain values (:func:`is_plain`) only if ``builds`` says that it builds such a
    value; it fits every other annotation. Every value fits an annotation that cannot be checked (type variables,
    unresolved forward references).
    """
    if annotation in (Any, object, inspect.Parameter.empty):
        return True
    if isinstance(value, dict) and "_target_" in value:
        return not is_plain(annotation) or _is_option(builds(value), annotation)
    if annotation is None:
        return value is None
    if annotation is float:
        return type(value) in (int, float)
    if annotation in (int, bool, str):
        return type(value) is annotation
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in _UNIONS:
        return any(fits(value, option, builds) for option in inner)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in inner)
    if origin is Annotated:
        return fits(value, inner[0], builds)
    kind = origin or annotation
    if not isinstance(kind, type):
        return True
    if isinstance(value, str):
        return False
    if isinstance(value, list) and kind is tuple:
        return not inner or _items_fit(value, inner, builds)
    try:
        if not isinstance(value, kind):
            return False
    except TypeError:  # a protocol that does not support isinstance
        return True
    if isinstance(value, list) and inner:
        return all(fits(item, inner[0], builds) for item in value)
    if isinstance(value, dict) and len(inner) == 2:
        return all(fits(key, inner[0], builds) and fits(item, inner[1], builds) for key, item in value.items())
    return True


def is_plain(annotation: Any) -> bool:
    """Return whether an annotation allows only text, numbers, bool, None, and lists and dicts of these."""
    if annotation in (str, int, float, bool, None, type(None)) or get_origin(annotation) is Literal:
        return True
    inner = [option for option in get_args(annotation) if option is not Ellipsis]
    kind = get_origin(annotation)
    return bool(inner) and (kind in _UNIONS or kind in _CONTAINERS) and all(map(is_plain, inner))


def _is_option(built: Any, annotation: Any) -> bool:
    """Return whether a plain annotation is, or has as one of its options, what a function returns."""
    options = get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)
    return built in options or (built is int and float in options)


def _items_fit(items: list[Any], inner: tuple[Any, ...], builds: Builds) -> bool:
    """Check the items of a list against the arguments of ``tuple[A, B]`` or ``tuple[A, ...]``."""
    if len(inner) == 2 and inner[1] is Ellipsis:
        return all(fits(item, inner[0], builds) for item in items)
    return len(items) == len(inner) and all(map(fits, items, inner, itertools.repeat(builds)))


def type_in_words(annotation: Any) -> str:
    """Return an annotation as text, as in code, with unions as ``A | B``."""
    if get_origin(annotation) is Union:
        return " | ".join(map(type_in_words, get_args(annotation)))
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return text.replace("typing.", "").replace("NoneType", "None")


def kind_of(value: Any) -> str:
    """Return the type of a plain value for messages: ``"text"`` for str, else the name of the type."""
    return {str: "text", type(None): "None"}.get(type(value), type(value).__name__)
