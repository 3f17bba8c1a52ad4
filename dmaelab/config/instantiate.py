"""Build objects from a config."""

import functools
from typing import Any

from omegaconf import OmegaConf

from dmaelab.config.check import check_nodes
from dmaelab.config.plain import interpolated
from dmaelab.config.targets import join, locate
from dmaelab.utils.errors import ConfigError, MachineError, UserError
from dmaelab.utils.machine import machine_error


def instantiate(cfg: Any, **extra: Any) -> Any:
    """Build what a config or one of its nodes describes, innermost nodes first.

    Each dict with a ``_target_`` is replaced by the return value of the target, or by a ``functools.partial`` of it if
    ``_partial_`` is true. Other dicts and lists stay dicts and lists, and their items are built. So a section without a
    target gives a dict of its values.

    Constructors get plain containers with interpolations resolved; a tuple in the config arrives as a list. A node that
    two interpolations refer to is built twice. The whole config is checked before anything is built.

    Args:
        cfg: a config, one of its nodes or sections, or a plain tree.
        extra: further arguments of the outermost target, of any type; the config must not set them.

    Raises:
        ConfigError: ``check`` finds a mistake, or a target raises an exception. The message is one line that starts
            with the full key path; the exception of the target is its cause.
        MachineError: the machine failed in a target, for example because memory is full.
    """
    path = cfg._get_full_key(None) if OmegaConf.is_config(cfg) else ""
    tree = interpolated(cfg)
    if extra and not (isinstance(tree, dict) and "_target_" in tree):
        raise ConfigError(f"{path or 'config'}: has no _target_ that could take {', '.join(extra)}")
    check_nodes(tree, path, {path: extra})
    return _build(tree, path, extra)


def _build(node: Any, path: str, extra: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_build(item, join(path, index), {}) for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    built = {key: _build(value, join(path, key), {}) for key, value in node.items()}
    if "_target_" not in built:
        return built
    name, is_partial = built.pop("_target_"), built.pop("_partial_", False)
    target = locate(name)
    if is_partial:
        return functools.partial(target, **built, **extra)
    try:
        return target(**built, **extra)
    except UserError as error:
        raise ConfigError(f"{path}: {error}" if path else str(error)) from error
    except Exception as error:
        if fault := machine_error(error):
            raise MachineError(f"{path}: {fault}" if path else str(fault)) from error
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"{path or 'config'}: {name} failed: {type(error).__name__}: {reason}") from error
