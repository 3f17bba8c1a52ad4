"""Check whether a plain value fits a type annotation."""

import inspect
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def fits(value: Any, annotation: Any) -> bool:
    """Return whether ``value`` fits an argument with this annotation.

    An int fits float, and a list fits tuple. A bool fits neither int nor float, and text fits only ``str``. A node with
    a ``_target_`` fits every annotation, because the type of what it builds is not known yet. Every value fits an
    annotation that cannot be checked (type variables, unresolved forward references).
    """
    if annotation in (Any, object, inspect.Parameter.empty) or (isinstance(value, dict) and "_target_" in value):
        return True
    if annotation is None:
        return value is None
    if annotation is float:
        return type(value) in (int, float)
    if annotation in (int, bool, str):
        return type(value) is annotation
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in inner)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in inner)
    if origin is Annotated:
        return fits(value, inner[0])
    kind = origin or annotation
    if not isinstance(kind, type):
        return True
    if isinstance(value, str):
        return False
    if isinstance(value, list) and kind is tuple:
        return not inner or _items_fit(value, inner)
    try:
        if not isinstance(value, kind):
            return False
    except TypeError:  # a protocol that does not support isinstance
        return True
    if isinstance(value, list) and inner:
        return all(fits(item, inner[0]) for item in value)
    if isinstance(value, dict) and len(inner) == 2:
        return all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items())
    return True


def _items_fit(items: list[Any], inner: tuple[Any, ...]) -> bool:
    """Check the items of a list against the arguments of ``tuple[A, B]`` or ``tuple[A, ...]``."""
    if len(inner) == 2 and inner[1] is Ellipsis:
        return all(fits(item, inner[0]) for item in items)
    return len(items) == len(inner) and all(map(fits, items, inner))


def type_in_words(annotation: Any) -> str:
    """Return an annotation as text, as in code, with unions as ``A | B``."""
    if get_origin(annotation) is Union:
        return " | ".join(map(type_in_words, get_args(annotation)))
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return text.replace("typing.", "").replace("NoneType", "None")


def kind_of(value: Any) -> str:
    """Return the type of a plain value for messages: ``"text"`` for str, else the name of the type."""
    return {str: "text", type(None): "None"}.get(type(value), type(value).__name__)
