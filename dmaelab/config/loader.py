"""Run Python config files, each in a namespace of its own, so that importers share no values."""

import builtins
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from dmaelab.config.imports import search_here
from dmaelab.config.plain import to_config
from dmaelab.utils.errors import ConfigError, did_you_mean

_files: set[Path] = set()


def config_files() -> set[Path]:
    """Return the Python config files that this process has run, those that others have imported included."""
    return set(_files)


def run_config(path: Path, importers: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Execute a Python config file and return its names.

    A relative import such as ``from .base import model`` or ``from ..common.train import train`` runs the named file
    again, so that each importer gets its own values. Dicts are imported as configs, so that ``train.lr = 1`` works on
    them. For this the file gets its own ``__import__`` (Python looks it up in the builtins of the running code).
    Python's import system and ``sys.modules`` are not changed, and absolute imports work as usual.

    Args:
        path: the file, absolute.
        importers: the files that are importing this one, outermost first.

    Raises:
        ConfigError: any error in the file; the message gives file and line.
    """
    _files.add(path)
    if path in importers:
        circle = (*importers[importers.index(path) :], path)
        raise ConfigError(f"circular import: {' -> '.join(map(short_path, circle))}")

    def import_(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0:
            if name.split(".")[0] not in sys.modules:
                search_here()
            return builtins.__import__(name, globals_, locals_, fromlist or (), level)
        if not name or "*" in fromlist:
            raise ConfigError("import from another config by file and name, as in 'from .base import model, train'")
        found = run_config(_find(path.parents[level - 1], name), (*importers, path))
        for wanted in fromlist:
            if wanted not in found:
                options = [option for option in found if not option.startswith("__")]
                raise ConfigError(f"config {'.' * level}{name} has no '{wanted}'{did_you_mean(wanted, options)}")
        return types.SimpleNamespace(**{name: _editable(found[name]) for name in fromlist})

    namespace: dict[str, Any] = {
        # Not the name of a module, so that what is defined here does not seem importable.
        "__name__": short_path(path),
        "__file__": str(path),
        "__builtins__": {**vars(builtins), "__import__": import_},
    }
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), namespace)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{short_path(path)}{_line(error, path)}: {_message(error)}") from error
    return namespace


def short_path(path: Path) -> str:
    """Return a path for messages: relative if it is below the working directory, else unchanged."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _editable(value: Any) -> Any:
    return to_config(value) if type(value) is dict else value


def _find(folder: Path, name: str) -> Path:
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    if not path.is_file():
        siblings = [file.stem for file in path.parent.glob("*.py")]
        raise ConfigError(f"there is no config {short_path(path)}{did_you_mean(path.stem, siblings)}")
    return path


def _line(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _message(error: BaseException) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"
