"""Targets: find the callable of a dotted name in a config, and the arguments that it accepts."""

import inspect
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from dmaelab.config.imports import check_import, find, import_module, is_yours, search_here
from dmaelab.config.trust import check_call, is_trusted_target, trust_module
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.signatures import Signature, signature_of


def join(path: str, key: str | int) -> str:
    """Return the key path ``path.key``."""
    return f"{path}.{key}" if path else str(key)


def locate(name: str, check_module: Callable[[str], None] = check_import) -> Any:
    """Return the object that a config calls by a dotted name.

    What the user's own Python code has put into a config is found without a check. Anything else must be what data may
    call (:mod:`dmaelab.config.trust`), and its module must be one that data may cause to be imported.

    Raises:
        ConfigError: there is no such object, or it may not be called.
    """
    if is_trusted_target(name):
        return find(name)
    found = find(name, check_module)
    if callable(found):
        check_call(name, found)
    return found


def load_plugins(cfg: Any) -> None:
    """Import the modules that a config lists in ``plugins``, so that their classes are registered.

    Those of ``$DMAELAB_PLUGINS`` are imported first. The modules of a config become trusted plug-ins if they are the
    user's own, and neither installed packages nor a part of this one: see :func:`dmaelab.config.imports.is_yours`.

    Raises:
        ConfigError: a module is missing, fails to import or may not be imported, or ``plugins`` is not a list of text.
    """
    trust_plugins()
    for module in _listed(cfg.get("plugins") or []):
        _plug_in(module, check_import)
        if is_yours(sys.modules[module]):
            trust_module(module)


def trust_plugins(modules: Iterable[str] = ()) -> None:
    """Import modules that the user names, and those of ``$DMAELAB_PLUGINS``. Configs may call what they define.

    Args:
        modules: for example those of the option ``--plugin``.

    Raises:
        ConfigError: a module is missing or fails to import.
    """
    surroundings = [module.strip() for module in os.environ.get("DMAELAB_PLUGINS", "").split(",")]
    for module in _listed([*filter(None, surroundings), *modules]):
        trust_module(module)
        _plug_in(module)


def _listed(plugins: Any) -> list[str]:
    if isinstance(plugins, str) or not all(isinstance(module, str) for module in plugins):
        raise ConfigError(f"plugins: write a list of module names, such as ['projects.my_project'], not {plugins!r}")
    return list(plugins)


def _plug_in(module: str, check_module: Callable[[str], None] | None = None) -> None:
    search_here()
    try:
        parts = module.split(".")
        for end in range(1, len(parts) + 1):  # each package before what is in it, because its import runs code, too
            import_module(".".join(parts[:end]), check_module)
    except ConfigError as error:
        hint = "; run from the folder that holds it, or add that folder to PYTHONPATH"
        raise ConfigError(f"plugins: {module}: {error}{hint if 'search path' in str(error) else ''}") from error


def signature_for(node: dict[str, Any], path: str) -> Signature:
    """Return the signature of the target of a node with a ``_target_``.

    If the target is a ``build_*`` function of a registry, it is the signature of the registered entry that the node
    names, and the argument ``name``.

    Raises:
        ConfigError: the target does not exist or cannot be called, or its registry has no entry of that name.
    """
    name = node["_target_"]
    if not isinstance(name, str):
        raise ConfigError(f"{join(path, '_target_')}: must be the dotted name of a class or function, not {name!r}")
    try:
        target = locate(name)
    except ConfigError as error:
        raise ConfigError(f"{join(path, '_target_')}: {error}") from error
    if not callable(target):
        raise ConfigError(f"{join(path, '_target_')}: '{name}' cannot be called, name a class or a function")
    label = name.rpartition(".")[2]
    registry = getattr(target, "registry", None) if inspect.isfunction(target) else None
    if registry is None:
        return signature_of(target, label)
    entry = node.get("name")
    if not isinstance(entry, str):
        options = ", ".join(registry.names())
        raise ConfigError(
            f"{join(path, 'name')}: {label} needs the name of a {registry.kind} as text, one of: {options}"
        )
    try:
        signature = signature_of(registry.get(entry), entry)
    except ConfigError as error:
        raise ConfigError(f"{join(path, 'name')}: {error}") from error
    name_parameter = inspect.Parameter("name", inspect.Parameter.KEYWORD_ONLY, annotation=str)
    return replace(signature, parameters={**signature.parameters, "name": name_parameter})


def built_by(node: dict[str, Any]) -> Any:
    """Return what a node with a ``_target_`` builds: its class, or the return annotation of its function.

    It is ``object`` if that is not known.

    Raises:
        ConfigError: as for :func:`signature_for`.
    """
    return object if node.get("_partial_", False) else signature_for(node, "").returns
