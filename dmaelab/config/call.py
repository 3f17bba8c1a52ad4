"""LazyCall: a function call that is stored in a config and executed later."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dmaelab.config.imports import find
from dmaelab.config.trust import trust_target
from dmaelab.utils.errors import ConfigError


class LazyCall:
    """``L(target)(**arguments)``: a config node that :func:`instantiate` turns into ``target(**arguments)``.

    ::

        from dmaelab.config import LazyCall as L

        corruption = L(build_corruption)(name="gaussian", sigma=0.25)

    Args:
        target: a class or function of an importable module, or its dotted name as text. A name is looked up only by
            ``check`` and ``instantiate``, so that the config file need not import the module.

    Raises:
        ConfigError: another process could not import the target, because it is a lambda, a local function, or defined
            in a config file or a script.
    """

    def __init__(self, target: Callable[..., Any] | str) -> None:
        self.name = target if isinstance(target, str) else _dotted_name(target)
        trust_target(self.name)

    def __repr__(self) -> str:
        return f"L({self.name.rpartition('.')[2]})"

    def __call__(self, *args: Any, **kwargs: Any) -> DictConfig:
        """Return the config node; with ``_partial_=True`` it builds a ``functools.partial`` of the target instead."""
        if args:
            raise ConfigError(
                f"{self}(...) takes keyword arguments only, so that every value has a key to override it by"
            )
        # Objects are accepted here, because loading refuses them later and can then name the file and the key.
        return OmegaConf.create({"_target_": self.name, **kwargs}, flags={"allow_objects": True})


def _dotted_name(target: Callable[..., Any]) -> str:
    """Return ``module.qualname`` of a target, after checking that importing this name gives the target."""
    module, qualname = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not callable(target) or not module or not qualname:
        raise ConfigError(f"L(...) takes a class, a function or a dotted name, not {target!r}")
    name = f"{module}.{qualname}"
    if "<lambda>" in qualname:
        raise ConfigError(
            "a lambda cannot be a target, it cannot be imported: make it a function in an importable module"
        )
    try:
        found = None if module == "__main__" else find(name)
    except ConfigError:
        found = None
    if found != target:
        raise ConfigError(f"{qualname} cannot be imported as '{name}': move it to an importable module")
    return name
