"""Check a config for mistakes before anything is built."""

from collections.abc import Collection, Mapping
from typing import Any

from dmaelab.config.plain import interpolated, nodes, plain
from dmaelab.config.targets import built_by, join, load_plugins, signature_for
from dmaelab.config.trust import trust_target
from dmaelab.config.typecheck import Node, fits, kind_of, type_in_words
from dmaelab.utils.errors import ConfigError, did_you_mean
from dmaelab.utils.signatures import Signature, signature_of

_SPECIAL = ("_target_", "_partial_")


def check(
    cfg: Any,
    *,
    sections: Mapping[str, Any] | None = None,
    allowed: Collection[str] | None = None,
    plain_sections: Collection[str] = (),
    extra: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Check a whole config: plug-ins, interpolations, sections, and for each node its target, arguments and types.

    Args:
        cfg: the config. Its ``plugins`` are imported first.
        sections: name of a plain section -> dataclass, function or ``inspect.Signature``. The keys and values of the
            section are checked like arguments of it. A missing section is checked as an empty one. Only keys with the
            annotation :data:`~dmaelab.config.typecheck.Node` may hold nodes with a ``_target_``.
        allowed: names of further sections that are allowed, besides ``plugins`` and those of ``sections``. Any name is
            allowed if both ``allowed`` and ``sections`` are None.
        plain_sections: names of further sections that are allowed and hold no nodes.
        extra: key path of a node -> names of the arguments that the program will pass to ``instantiate`` for that node.
            The config must not set them.

    Raises:
        ConfigError: the first mistake found, as one line that starts with its key path.
    """
    plain(cfg)
    load_plugins(cfg)
    tree = interpolated(cfg)
    sections = sections or {}
    if sections or allowed is not None:
        names = ["plugins", *sections, *plain_sections, *(allowed or ())]
        for name in tree:
            if name not in names:
                raise ConfigError(
                    f"{name}: no such section{did_you_mean(name, names) or '; there are: ' + ', '.join(names)}"
                )
    for name, schema in sections.items():
        section = tree.get(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{name}: is a section with keys, not {section!r} ({kind_of(section)})")
        signature = signature_of(schema, name)
        for key, value in section.items():
            if key not in signature.parameters or signature.parameters[key].annotation is not Node:
                _check_plain(join(name, key), value)
        _check_arguments(name, section, signature, "key")
    for name in ("plugins", *plain_sections):
        _check_plain(name, tree.get(name))
    check_nodes(tree, "", extra or {})


def check_nodes(tree: Any, path: str, extra: Mapping[str, Collection[str]]) -> None:
    """Check every node with a ``_target_`` in a resolved plain tree; ``path`` is the key path of the tree's root."""
    for node_path, node in [(path, tree), *nodes(tree, path)]:
        if isinstance(node, dict) and "_target_" in node:
            _check_arguments(node_path, node, signature_for(node, node_path), "argument", extra.get(node_path, ()))


def check_targets(cfg: Any) -> None:
    """Check for each node of a config whether its target may be called, and nothing else.

    Raises:
        ConfigError: see :func:`dmaelab.config.targets.locate`.
    """
    for path, node in nodes(interpolated(cfg)):
        if isinstance(node, dict) and "_target_" in node:
            signature_for(node, path)


def trust_targets(cfg: Any) -> None:
    """From now on let every config call what this one calls: :func:`check_targets` has passed it elsewhere."""
    for _, node in nodes(interpolated(cfg)):
        if isinstance(node, dict) and "_target_" in node:
            trust_target(node["_target_"])


def _check_plain(path: str, tree: Any) -> None:
    """Refuse nodes in what holds plain values: nothing there is built, and so nothing there is called."""
    for where, _ in [(path, tree), *nodes(tree, path)]:
        if where.rpartition(".")[2] in _SPECIAL:
            raise ConfigError(f"{where}: the section {where.split('.')[0]} holds plain values, which call nothing")


def _check_arguments(
    path: str, node: dict[str, Any], signature: Signature, noun: str, given: Collection[str] = ()
) -> None:
    arguments = {name: value for name, value in node.items() if name not in _SPECIAL}
    for name, value in arguments.items():
        here = join(path, name)
        if name in given:
            raise ConfigError(f"{here}: set by the program, remove it from the config")
        if name in signature.parameters:
            _check_value(here, value, signature, signature.parameters[name])
        elif not signature.accepts_all:
            known = [option for option in signature.parameters if option not in given]
            hint = did_you_mean(name, known) or (f"; it has: {', '.join(known)}" if known else "")
            raise ConfigError(f"{here}: {signature.label} has no {noun} '{name}'{hint}")
    missing = [name for name in signature.required if name not in arguments and name not in given]
    if missing and not node.get("_partial_", False):
        raise ConfigError(f"{path or 'config'}: {signature.label} needs {' and '.join(repr(name) for name in missing)}")


def _check_value(path: str, value: Any, signature: Signature, parameter: Any) -> None:
    if value is None and parameter.default is None:  # ``x: int = None``, the old notation of an optional argument
        return
    if not fits(value, parameter.annotation, built_by):
        expected = type_in_words(parameter.annotation)
        raise ConfigError(f"{path}: {signature.label} expects {expected}, got {value!r} ({kind_of(value)})")
