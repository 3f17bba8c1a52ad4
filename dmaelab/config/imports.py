"""Imports: which modules are imported because a config names them, and from where.

An import runs code. The user's own word imports anything; data (YAML files, run directories, overrides) does not.
"""

import importlib
import importlib.util
import os
import pkgutil
import sys
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from dmaelab.config.trust import how_to_trust, is_trusted, trusted_modules
from dmaelab.utils.errors import ConfigError, did_you_mean

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


_PACKAGE = Path(__file__).parents[1]
_INSTALLED = {"site-packages", "dist-packages"}  # folders of installed packages
_COMES_WITH_US = ("dmaelab", "tools", "benchmarks", "dev", "tests")

_foreign: dict[Path, None] = {}  # folders from which only data is read


def current_name(name: str) -> str:
    """Return the dotted name under which an object is found today; that of a module that never moved is unchanged."""
    module, dot, attribute = name.rpartition(".")
    return f"{_MOVED.get(module, module)}{dot}{attribute}"


def find(name: str, check_module: Callable[[str], None] | None = None) -> Any:
    """Return the object of a dotted name such as ``"torch.optim.AdamW"``, importing its module if needed.

    Args:
        name: the dotted name. Without ``check_module`` it must be the user's own word, because an import runs code.
        check_module: called with the name of each module before it is imported; it may refuse by a ``ConfigError``.

    Raises:
        ConfigError: a module or attribute does not exist (the message suggests the nearest name), or a module fails to
            import or is refused.
    """
    first, *rest = current_name(name).split(".")
    if not rest:
        raise ConfigError(f"'{name}' is not a dotted name such as 'torch.optim.AdamW'")
    if first != "dmaelab":
        search_here()
    found, so_far = import_module(first, check_module), first
    for position, part in enumerate(rest, 1):
        parent, so_far = found, f"{so_far}.{part}"
        is_last = position == len(rest)
        if check_module is not None and not isinstance(parent, (ModuleType, type)):
            raise ConfigError(f"'{so_far.rpartition('.')[0]}' is neither a module nor a class")
        if is_last and callable(getattr(parent, part, None)):
            return getattr(parent, part)
        # Prefer a submodule to an attribute: a package may export a function with the name of its submodule.
        if hasattr(parent, "__path__") and part.isidentifier() and _is_module(so_far):
            found = import_module(so_far, check_module)
        elif hasattr(parent, part):
            found = getattr(parent, part)
        else:
            options = [*dir(parent), *(module.name for module in pkgutil.iter_modules(getattr(parent, "__path__", [])))]
            raise ConfigError(f"'{so_far.rpartition('.')[0]}' has no '{part}'{did_you_mean(part, options)}")
    return found


def search_here() -> None:
    """Let modules be found in the working directory, last of all.

    The tools call this when a module of the user's is named, and not when they start: whatever they import by
    themselves must not come from the folder in which they happen to be started.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def import_module(module: str, check_module: Callable[[str], None] | None = None) -> ModuleType:
    """Import a module, whose package must be imported already; arguments and errors as of :func:`find`."""
    if check_module is not None:
        check_module(module)
    try:
        return importlib.import_module(module)
    except ForeignModule as error:
        raise ConfigError(str(error)) from error
    except (Exception, SystemExit) as error:  # SystemExit: a script that was named as a module
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and f"{module}.".startswith(f"{error.name}.")
        ):
            raise ConfigError(f"no module named '{error.name}' on the search path") from error
        raise ConfigError(f"importing '{module}' failed: {type(error).__name__}: {error}") from error


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ForeignModule, ValueError):  # the import will say so; a loaded module has no specification
        return True


def foreign_folders() -> tuple[str, ...]:
    """Return the folders given to :func:`distrust`."""
    return tuple(map(str, _foreign))


def distrust(folder: str | Path) -> None:
    """From now on import nothing from this folder and what is below it, except trusted plug-ins.

    Data was read from the folder, and whoever wrote the data may also have put modules beside it.
    """
    _foreign[Path(folder).absolute()] = None
    if _Guard not in sys.meta_path:
        sys.meta_path.insert(0, _Guard)


class ForeignModule(ModuleNotFoundError):
    """A module lies in a folder from which only data is read."""


class _Guard:
    """An import finder that finds nothing, and refuses the modules that others would find in a foreign folder."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if is_trusted(name) or any(f"{plugin}.".startswith(f"{name}.") for plugin in trusted_modules()):
            return
        spec = PathFinder.find_spec(name, path, target)
        # A package without __init__.py has no origin. It runs no code, and its modules are asked for one by one.
        if spec is None or spec.origin is None or _inside(Path(spec.origin), [_PACKAGE, *_python(), *_installed()]):
            return
        for folder in _foreign:
            if _inside(Path(spec.origin), [folder]):
                raise ForeignModule(
                    f"'{name}' lies in {folder}, from which only data is read; if you trust it, {how_to_trust(name)}",
                    name=name,
                )


def check_import(module: str) -> None:
    """Refuse a module that a config may not cause to be imported; what :func:`distrust` forbids is refused later.

    Raises:
        ConfigError: it belongs to Python itself, or is the code of a command.
    """
    if module in sys.modules or is_trusted(module):
        return
    first, *rest = module.split(".")
    if first in sys.stdlib_module_names or "__main__" in rest or _of_python(PathFinder.find_spec(first)):
        raise ConfigError(f"'{module}' holds nothing that a config builds, so it is not imported")


def check_known(module: str) -> None:
    """Refuse a module that an override may not cause to be imported.

    Raises:
        ConfigError: it is neither imported, nor a part of this package, nor a trusted plug-in.
    """
    check_import(module)
    if not (module in sys.modules or module.split(".")[0] == "dmaelab" or is_trusted(module)):
        raise ConfigError(
            f"'{module}' is not imported, and an override alone imports nothing; if you trust it,"
            f" {how_to_trust(module)}"
        )


def is_yours(module: ModuleType) -> bool:
    """Return whether an imported module belongs neither to Python, nor to an installed package, nor to this one."""
    spec = module.__spec__
    if spec is None or spec.name.split(".")[0] in _COMES_WITH_US or _of_python(spec):
        return False
    return not any(_inside(place, _installed()) or _INSTALLED & set(place.parts) for place in _places(spec))


def _places(spec: ModuleSpec) -> list[Path]:
    """Return the file of a module, or the folders of a package."""
    return [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""]]


def _of_python(spec: ModuleSpec | None) -> bool:
    """Return whether a module belongs to Python itself."""
    if spec is None:
        return False
    if not spec.has_location and not spec.submodule_search_locations:  # built into the interpreter
        return True
    return any(_inside(place, _python()) and not _INSTALLED & set(place.parts) for place in _places(spec))


def _python() -> list[Path]:
    return [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]


def _installed() -> list[Path]:
    return [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]


def _inside(place: Path, folders: Iterable[Path]) -> bool:
    """Return whether a path lies in one of the folders, as it is written or after links were followed."""
    return any(
        place.absolute().is_relative_to(folder) or place.resolve().is_relative_to(folder.resolve())
        for folder in folders
    )
