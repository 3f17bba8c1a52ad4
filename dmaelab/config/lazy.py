"""LazyConfig: read, write and override configs."""

import os
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dmaelab.config.loader import run_config, short_path
from dmaelab.config.overrides import apply_overrides
from dmaelab.config.plain import plain, to_config
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

        Raises:
            ConfigError: the file is missing, fails to run or to parse, or contains other values.
        """
        path = Path(os.path.abspath(path))
        if not path.is_file():
            raise ConfigError(f"there is no config file {short_path(path)}")
        if path.suffix == ".py":
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
            return to_config(plain(sections))
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


def _read_yaml(path: Path) -> Any:
    try:
        cfg = OmegaConf.load(path)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{short_path(path)}{line}: {error.problem}") from error
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{short_path(path)}: {str(error).splitlines()[0]}") from error
    if not isinstance(cfg, DictConfig):
        raise ConfigError(f"{short_path(path)}: a config is a mapping of sections")
    return cfg
