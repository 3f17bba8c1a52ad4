"""LazyConfig: read, write and override configs."""

import os
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmaelab.config.imports import distrust
from dmaelab.config.loader import run_config, short_path
from dmaelab.config.overrides import apply_overrides, changes_plugins
from dmaelab.config.plain import nodes, plain, to_config
from dmaelab.config.targets import join
from dmaelab.config.trust import trust_target
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.files import write_text

_IGNORED = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


class LazyConfig:
    """Functions to load, save and override a config."""

    @staticmethod
    def load(path: str | os.PathLike[str]) -> DictConfig:
        """Return the config in a file: its sections are the public names of a ``.py`` file or the keys of a ``.yaml``.

        In a Python file, imported modules, functions, classes, and names that start with ``_`` are ignored. All other
        values must be plain: text, numbers, bool, None, lists, tuples (which become lists), dicts and
        ``L(...)(...)`` nodes.

        A Python file is the user's own code, so whatever it calls may be called. A YAML file is data: what it may call
        is in :mod:`dmaelab.config.trust`, and from now on no module is imported from the folder that holds it.

        Raises:
            ConfigError: the file is missing, fails to run or to parse, or contains other values.
        """
        path = Path(os.path.abspath(path))
        if not path.is_file():
            raise ConfigError(f"there is no config file {short_path(path)}")
        is_code = path.suffix == ".py"
        if is_code:
            sections = {
                name: value
                for name, value in run_config(path).items()
                if not name.startswith("_") and not _ignored(value)
            }
        elif path.suffix in (".yaml", ".yml"):
            sections = _read_yaml(path)
        else:
            raise ConfigError(f"{short_path(path)}: a config is a .py or a .yaml file")
        try:
            tree = plain(sections)
            for where, value in nodes(tree):
                if is_code and isinstance(value, str) and (where.split(".")[-1] == "_target_" or where == "trainer"):
                    trust_target(value)
            if not is_code:
                distrust(path.parent)
                _check_overrides(tree)
            return to_config(tree)
        except ConfigError as error:
            raise ConfigError(f"{short_path(path)}: {error}") from error

    @staticmethod
    def save(cfg: Any, path: str | os.PathLike[str]) -> None:
        """Write a config as YAML, atomically, without resolving interpolations; :meth:`load` reads it back equal."""
        write_text(path, OmegaConf.to_yaml(to_config(plain(cfg))))

    @staticmethod
    def apply_overrides(cfg: Any, overrides: Sequence[str], *, sections: dict[str, Any] | None = None) -> DictConfig:
        """Return a copy with overrides applied; see :func:`dmaelab.config.overrides.apply_overrides`."""
        return apply_overrides(cfg, overrides, sections=sections)


def _ignored(value: Any) -> bool:
    return isinstance(value, _IGNORED) and getattr(value, "__name__", "") != "<lambda>"


def _check_overrides(tree: dict[str, Any]) -> None:
    """Refuse what the overrides in a YAML file must not do: name plug-ins, and Python files as configs of stages.

    Overrides are in the sections ``debug`` and ``stages``. Those of the command line may name plug-ins, because they
    are the user's word.
    """
    for section in ("debug", "stages"):
        for where, text in _texts(section, tree.get(section)):
            if changes_plugins(text) or "${" in text:
                raise ConfigError(f"{where}: a YAML config may set no plugins in an override, nor use ${{...}} here")
            if where.endswith(".config") and Path(text).suffix == ".py":
                raise ConfigError(f"{where}: a YAML config cannot name the Python config {text}, which is code")


def _texts(path: str, tree: Any) -> Iterator[tuple[str, str]]:
    """Yield (key path, text) for every text in a plain tree, keys of dicts included."""
    if isinstance(tree, str):
        yield path, tree
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from _texts(path, key) if isinstance(key, str) else ()
        yield from _texts(join(path, key), value)


def _read_yaml(path: Path) -> Any:
    try:
        _check_sexagesimal(path)
        cfg = OmegaConf.load(path)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{short_path(path)}{line}: {error.problem}") from error
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{short_path(path)}: {str(error).splitlines()[0]}") from error
    if not isinstance(cfg, DictConfig):
        raise ConfigError(f"{short_path(path)}: a config is a mapping of sections")
    return cfg


_SEXAGESIMAL = re.compile(r"\d:[0-5]?\d")


def _check_sexagesimal(path: Path) -> None:
    """Refuse numbers such as 12:00:00, which YAML reads in base 60: a time limit of 12 hours would be 43200 minutes.

    Raises:
        ConfigError: there is such a number; the text names the line.
    """
    text = path.read_text(encoding="utf-8")
    if not _SEXAGESIMAL.search(text):
        return
    left, seen = [yaml.compose(text, Loader=yaml.SafeLoader)], set()
    while left:
        node = left.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode) and ":" in node.value and node.tag.endswith((":int", ":float")):
            line = node.start_mark.line + 1
            raise ConfigError(
                f"{short_path(path)}, line {line}: {node.value} is a number in base 60 for YAML: give '{node.value}' in"
                " quotes"
            )
        if isinstance(node, yaml.CollectionNode):
            left += [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
