"""Overrides from the command line: ``a.b=1`` changes, ``+a.b=1`` adds, ``~a.b`` deletes."""

import ast
import warnings
from collections.abc import Collection, Iterator, Sequence
from inspect import Parameter
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmaelab.config.imports import check_known
from dmaelab.config.plain import nodes, plain, to_config
from dmaelab.config.targets import built_by, locate, signature_for, trust_plugins
from dmaelab.config.typecheck import fits, kind_of, type_in_words
from dmaelab.utils.errors import ConfigError, did_you_mean
from dmaelab.utils.signatures import Signature, signature_of

# The root of a config may have any section, and every config may have a list of plug-ins.
_ROOT = Signature("config", {"plugins": Parameter("plugins", Parameter.KEYWORD_ONLY, annotation=list[str])}, True)
_WORDS = {"true": True, "false": False, "null": None, "none": None}


def apply_overrides(cfg: Any, overrides: Sequence[str], *, sections: dict[str, Any] | None = None) -> DictConfig:
    """Return a copy of ``cfg`` with the overrides applied in order.

    A value is parsed as a Python literal if possible, else as one of true, false, null and none, else it is text. It
    must fit the type annotation of the argument that it sets. If there is no annotation, it must fit the type of the
    old value: ints and whole floats are converted into each other, an old value None accepts any new value, and an old
    text accepts anything as text. Interpolations (``${...}``) are not checked here but in ``check``.

    Args:
        cfg: the config.
        overrides: each one of

            * ``key.path=value`` to change a value. The key must exist, or be an argument of its target or section.
              A missing section is like an empty one.
              List items are addressed by index. A dict as value replaces the whole section.
            * ``+key.path=value`` to add a key. The key must not exist, but its parent must.
            * ``~key.path`` to delete a key.
        sections: section name -> dataclass, function or signature with the type annotations, as for ``check``.

    Raises:
        ConfigError: an override cannot be applied. The message suggests the nearest key or gives the expected type.
    """
    trust_named(overrides)
    tree = plain(cfg)
    for override in overrides:
        _apply(tree, override.strip(), sections or {})
    return to_config(tree)


def trust_named(overrides: Sequence[str]) -> None:
    """Import the plug-ins that overrides such as ``plugins=['my_project']`` name, which are the user's word.

    Call this before anything of someone else's is read, such as the config of a run directory.

    Raises:
        ConfigError: a module is missing or fails to import.
    """
    values = [parse(_split(override.strip())[-1]) for override in overrides if changes_plugins(override)]
    named = [module for value in values for module in (value if isinstance(value, list) else [value])]
    trust_plugins(module for module in named if isinstance(module, str) and module)


def changes_plugins(override: str) -> bool:
    """Return whether an override sets, adds or deletes plug-ins."""
    _, key, _, _ = _split(override.strip())
    return key.split(".")[0] == "plugins"


def _split(override: str) -> tuple[str, str, str, str]:
    """Return sign, key, equals sign and value of an override."""
    sign = override[0] if override[:1] in ("+", "~") else ""
    key, equals, raw = override.removeprefix(sign).partition("=")
    return sign, key.strip(), equals, raw.strip()


def _apply(tree: dict[str, Any], override: str, sections: dict[str, Any]) -> None:
    if override.startswith("-"):
        raise ConfigError(f"{override}: write '{override.lstrip('-')}', without dashes")
    sign, key, equals, raw = _split(override)
    if bool(equals) == (sign == "~"):
        raise ConfigError(f"{override or repr(override)}: write key=value to change, +key=value to add, ~key to delete")
    first, dot, _ = key.partition(".")
    if dot and first in sections and first not in tree:
        tree[first] = {}  # a missing section is like an empty one
    parent, last = _parent(tree, key)
    at = _position(parent, last)
    _check_targets(key, parse(raw))
    signature = _signature(key, parent, sections)
    accepted = signature.parameters if signature is not None else {}
    if sign == "+" and at is not None:
        raise ConfigError(f"{key}: exists already, write '{key}={raw}' to change it")
    if at is None and (sign == "+" or (not sign and last in accepted)):
        _add(parent, last, _fitting(tree, key, None, raw, _annotation(accepted, last)), key)
    elif at is None:
        addable = not sign and (signature is None or signature.accepts_all)
        raise ConfigError(
            _unknown(parent, key, last, accepted) + (f"; write '+{override}' to add it" if addable else "")
        )
    elif sign == "~":
        del parent[at]
    else:
        parent[at] = _fitting(tree, key, parent[at], raw, _annotation(accepted, last))


def _check_targets(key: str, value: Any) -> None:
    """Refuse a value that names what an override may not call, or a module that is not imported yet.

    Raises:
        ConfigError: see :func:`dmaelab.config.targets.locate` and :func:`dmaelab.config.imports.check_known`.
    """
    for path, name in [(key, value), *nodes(value, key)]:
        if isinstance(name, str) and (path.rpartition(".")[2] == "_target_" or path == "trainer"):
            try:
                if "${" in name:
                    raise ConfigError("write the dotted name itself, not an interpolation")
                locate(name, check_known)
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}") from error


def parse(raw: str) -> Any:
    """Return the value of the text after the ``=``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in text such as a\d
            return plain(ast.literal_eval(raw))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _WORDS.get(raw, raw)


def _parent(tree: Any, key: str) -> tuple[Any, str]:
    """Return the container that holds ``key`` and the last part of its path."""
    node, (*path, last) = tree, key.split(".")
    for depth, part in enumerate(path):
        at = _position(node, part)
        here = ".".join(path[: depth + 1])
        if at is None:
            raise ConfigError(_unknown(node, here, part))
        node = node[at]
        if isinstance(node, str) and "${" in node:
            raise ConfigError(f"{key}: {here} is the interpolation '{node}', override what it refers to")
        if not isinstance(node, (dict, list)):
            raise ConfigError(f"{key}: {here} is {node!r} ({kind_of(node)}) and has no keys")
    return node, last


def _position(node: Any, part: str) -> Any:
    """Return the key or list index that ``part`` names in a container; None if the container does not have it."""
    if isinstance(node, list):
        return int(part) if part.isdecimal() and int(part) < len(node) else None
    return part if part in node else None


def _unknown(node: Any, key: str, part: str, accepted: Collection[str] = ()) -> str:
    if isinstance(node, list):
        return f"{key}: no such item, the list has {len(node)} (counted from 0)"
    keys = [name for name in {**node, **dict.fromkeys(accepted)} if not name.startswith("_")]
    return f"{key}: no such key{did_you_mean(part, keys) or '; there are: ' + (', '.join(keys) or 'none')}"


def _add(parent: Any, last: str, value: Any, key: str) -> None:
    if isinstance(parent, dict) and last:
        parent[last] = value
    elif isinstance(parent, list) and last == str(len(parent)):
        parent.append(value)
    else:
        hint = f"the next item of the list is {len(parent)}" if isinstance(parent, list) else "the key is empty"
        raise ConfigError(f"+{key}: {hint}")


def _signature(key: str, parent: Any, sections: dict[str, Any]) -> Signature | None:
    """Return the signature of the target or section that contains ``key``; None if it has none or it is invalid."""
    path = key.rpartition(".")[0]
    if not isinstance(parent, dict):
        return None
    if not path:
        return _ROOT
    try:
        if "_target_" in parent:
            return signature_for(parent, path)
        return signature_of(sections[path], path) if path in sections else None
    except ConfigError:  # the next override may repair an invalid target; if not, check reports it
        return None


def _annotation(accepted: dict[str, Parameter], name: str) -> Any:
    """Return the annotation of an argument or field; Any if there is none."""
    parameter = accepted.get(name)
    return Any if parameter is None or parameter.annotation is parameter.empty else parameter.annotation


def _fitting(tree: Any, key: str, old: Any, raw: str, annotation: Any) -> Any:
    """Return the value of ``raw``, converted to fit the annotation or, without one, the type of the old value."""
    parsed = parse(raw)
    if isinstance(parsed, str) and "${" in parsed:
        return parsed
    old = _resolved(tree, key, old)
    for value in _forms(parsed, raw, old):
        if (
            fits(value, annotation, built_by)
            if annotation is not Any
            else (old is None or kind_of(value) == kind_of(old))
        ):
            return value
    if annotation is not Any:
        raise ConfigError(f"{key}: expects {type_in_words(annotation)}; {raw!r} is {kind_of(parsed)}")
    hint = {bool: ", write true or false", list: ", write a list such as ['a', 'b']"}.get(type(old), "")
    raise ConfigError(f"{key} is {old!r} ({kind_of(old)}); {raw!r} is {kind_of(parsed)}{hint}")


def _forms(parsed: Any, raw: str, old: Any) -> Iterator[Any]:
    """Yield the possible values of ``raw``, in order of preference."""
    yield float(parsed) if type(old) is float and type(parsed) is int else parsed
    if type(parsed) is float and parsed.is_integer():
        yield int(parsed)
    if type(parsed) in (int, float, bool):
        yield raw


def _resolved(tree: Any, key: str, old: Any) -> Any:
    """Return the old value with an interpolation resolved; None, which accepts any new value, if it is invalid."""
    if not (isinstance(old, str) and "${" in old):
        return old
    try:
        return plain(OmegaConf.select(to_config(tree), key))
    except (OmegaConfBaseException, ConfigError):
        return None
