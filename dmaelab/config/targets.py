"""Targets: find the callable of a dotted name in a config, and the arguments that it accepts."""

import importlib
import importlib.util
import inspect
import pkgutil
from typing import Any

from dmaelab.utils.errors import ConfigError, did_you_mean
from dmaelab.utils.signatures import Signature, signature_of

# Modules that have moved, old name -> new name, so that configs saved in older run directories still load.
_MOVED = {
    "dmaelab.modeling.vit": "dmaelab.modeling.backbones.vit",
    "dmaelab.modeling.resnet": "dmaelab.modeling.backbones.resnet",
    "dmaelab.modeling.pretrained": "dmaelab.weights.load",
    "dmaelab.smoothing.build": "dmaelab.certifiers.build",
    "dmaelab.smoothing.cohen": "dmaelab.certifiers.cohen",
    "dmaelab.smoothing.predict": "dmaelab.certifiers.predict",
    "dmaelab.smoothing.sequential": "dmaelab.certifiers.sequential",
}


def join(path: str, key: str | int) -> str:
    """Return the key path ``path.key``."""
    return f"{path}.{key}" if path else str(key)


def current_name(name: str) -> str:
    """Return the dotted name under which an object is found today; that of a module that never moved is unchanged."""
    module, dot, attribute = name.rpartition(".")
    return f"{_MOVED.get(module, module)}{dot}{attribute}"


def locate(name: str) -> Any:
    """Return the object of a dotted name such as ``"torch.optim.AdamW"``, importing its module if needed.

    Raises:
        ConfigError: a module or attribute does not exist (the message suggests the nearest name), or a module fails to
            import.
    """
    first, *rest = current_name(name).split(".")
    if not rest:
        raise ConfigError(f"'{name}' is not a dotted name such as 'torch.optim.AdamW'")
    found, so_far = _import(first), first
    for position, part in enumerate(rest, 1):
        parent, so_far = found, f"{so_far}.{part}"
        is_last = position == len(rest)
        if is_last and callable(getattr(parent, part, None)):
            return getattr(parent, part)
        # Prefer a submodule to an attribute: a package may export a function with the name of its submodule.
        if hasattr(parent, "__path__") and part.isidentifier() and importlib.util.find_spec(so_far):
            found = _import(so_far)
        elif hasattr(parent, part):
            found = getattr(parent, part)
        else:
            options = [*dir(parent), *(module.name for module in pkgutil.iter_modules(getattr(parent, "__path__", [])))]
            raise ConfigError(f"'{so_far.rpartition('.')[0]}' has no '{part}'{did_you_mean(part, options)}")
    return found


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and f"{module}.".startswith(f"{error.name}.")
        ):
            raise ConfigError(f"no module named '{error.name}' on the search path") from error
        raise ConfigError(f"importing '{module}' failed: {type(error).__name__}: {error}") from error


def load_plugins(cfg: Any) -> None:
    """Import the modules that the config lists in ``plugins``, so that their classes are registered.

    Raises:
        ConfigError: a module is missing or fails to import, or ``plugins`` is not a list of text.
    """
    plugins = cfg.get("plugins") or []
    if isinstance(plugins, str) or not all(isinstance(module, str) for module in plugins):
        raise ConfigError(f"plugins: write a list of module names, such as ['projects.my_project'], not {plugins!r}")
    for module in plugins:
        try:
            _import(module)
        except ConfigError as error:
            hint = (
                "; run from the folder that holds it, or add that folder to PYTHONPATH"
                if "search path" in str(error)
                else ""
            )
            raise ConfigError(f"plugins: {module}: {error}{hint}") from error


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
    return Signature(entry, {**signature.parameters, "name": name_parameter}, signature.accepts_all)
