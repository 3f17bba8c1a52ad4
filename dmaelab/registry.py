"""Registries: they map a name in a config to the class or function that implements it."""

from collections.abc import Callable
from typing import Any

from fvcore.common.registry import Registry as _Registry

from dmaelab.utils.arguments import KeepsArguments
from dmaelab.utils.errors import ConfigError, did_you_mean


class Registry(_Registry):  # type: ignore[misc]  # fvcore has no types
    """A table of classes or functions of one kind, such as losses, by name.

    Example::

        @CORRUPTIONS.register("gaussian")
        class Gaussian(Corruption): ...

        CORRUPTIONS.names()                      # ["gaussian", ...]
        CORRUPTIONS.get("gaussian")              # the class
        CORRUPTIONS.build("gaussian", sigma=0.25)
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    def register(self, name: str) -> Callable[[Any], Any]:
        """Return a decorator that registers a class or function under ``name``.

        A module that is loaded again replaces its own entries.

        Raises:
            ConfigError: ``name`` is not text, or another class or function already has that name. The second case
                includes a file that is imported under two module names.
        """
        if not isinstance(name, str):
            raise ConfigError(
                f"the name of a {self.kind} must be text, as in .register('my_{self.kind}'), not {name!r}"
            )

        def add(entry: Any) -> Any:
            known = self._obj_map.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (entry.__module__, entry.__qualname__):
                owner = f"{known.__module__}.{known.__qualname__}"
                raise ConfigError(f"{self.kind} '{name}' is already registered by {owner}; choose another name")
            self._obj_map[name] = entry
            return entry

        return add

    def get(self, name: str) -> Any:
        """Return the entry of that name.

        Raises:
            ConfigError: there is no such entry. The message suggests the nearest name.
        """
        if name not in self._obj_map:
            raise ConfigError(
                f"unknown {self.kind} '{name}'{did_you_mean(name, self.names())}; registered: {', '.join(self.names())}"
                f"; to use your own {self.kind}, list its module in plugins=[...]"
            )
        return self._obj_map[name]

    def build(self, name: str, **kwargs: Any) -> Any:
        """Call the entry of that name with ``kwargs`` and return the result."""
        return self.get(name)(**kwargs)

    def name_of(self, entry: object) -> str:
        """Return the name under which the class of ``entry`` is registered, or ``module.Class`` if it is not."""
        kind = type(entry)
        own = f"{kind.__module__}.{kind.__qualname__}"
        return next((name for name in self.names() if self._obj_map[name] is kind), own)

    def name_and_options(self, entry: KeepsArguments) -> dict[str, Any]:
        """Return ``{"name": ..., **options}`` of an object: the name of its class, and its constructor's arguments.

        Raises:
            UserError: an option is not a plain value (number, text, bool, None, or lists and dicts of these).
        """
        name = {"name": self.name_of(entry)}
        return name | entry.options() | name  # first, and not hidden by an option of that name

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._obj_map)

    def describe(self) -> dict[str, str]:
        """Return a dict from each name to the first line of the entry's docstring."""
        return {name: (self._obj_map[name].__doc__ or "").strip().split("\n")[0] for name in self.names()}


def builder(registry: Registry, module: str) -> Callable[..., Any]:
    """Return the function ``build_<kind>(name, **kwargs)`` for use in configs.

    Its attribute ``registry`` lets :func:`dmaelab.config.check` look up what the named entry accepts.

    Args:
        registry: where the function looks up names.
        module: name of the module that keeps the function. Configs name it as ``module.build_<kind>``.
    """

    def build(name: str, **kwargs: Any) -> Any:
        return registry.build(name, **kwargs)

    build.__module__ = module
    build.__name__ = build.__qualname__ = f"build_{registry.kind}"
    build.__doc__ = f"Build the {registry.kind} registered as ``name`` from the other arguments."
    build.registry = registry  # type: ignore[attr-defined]
    return build
