"""Load configs by name: those that come with the package and those in ``$DMAELAB_CONFIGS``."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmaelab.config.lazy import LazyConfig
from dmaelab.config.overrides import trust_named
from dmaelab.config.targets import load_plugins, trust_plugins
from dmaelab.utils.errors import ConfigError, did_you_mean


def get_config(name: str) -> DictConfig:
    """Return the config of that name, such as ``"digits/pretrain"``.

    A name is the path of a file below a config folder, without ``.py``. The folders are ``$DMAELAB_CONFIGS``, if set,
    and then the package's own: ``configs/`` beside the package in a checkout or an editable install, and its copy
    ``dmaelab/_configs`` in a wheel.

    Raises:
        ConfigError: the name is unknown. The message suggests the nearest one.
    """
    return LazyConfig.load(_path_of(name))


def config_path(source: str | os.PathLike[str]) -> Path:
    """Return the file of a config: a ``.py`` or ``.yaml`` file itself, or that of a name for :func:`get_config`.

    Raises:
        ConfigError: the name is unknown.
    """
    is_file = Path(source).is_file() or Path(source).suffix in (".py", ".yaml", ".yml")
    return Path(source) if is_file else _path_of(str(source))


def _path_of(name: str) -> Path:
    name = name.removesuffix(".py")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ConfigError(f"'{name}' is no name of a config below a folder of configs; a file is named with its .py")
    for folder in _folders():
        path = folder / f"{name}.py"
        if path.is_file():
            return path
    known = list_configs()
    raise ConfigError(f"there is no config '{name}'{did_you_mean(name, known) or '; there are: ' + ', '.join(known)}")


def list_configs() -> list[str]:
    """Return the names of the configs that can be run, sorted; the parts of configs in ``common/`` are left out."""
    names = {
        path.relative_to(folder).with_suffix("").as_posix() for folder in _folders() for path in folder.rglob("*.py")
    }
    return sorted(
        name
        for name in names
        if not name.startswith("common/") and not any(part.startswith("_") for part in name.split("/"))
    )


def open_config(
    source: str | os.PathLike[str], overrides: Sequence[str] = (), sections: dict[str, Any] | None = None
) -> DictConfig:
    """Load a config, import its plug-ins and apply overrides.

    Args:
        source: a ``.py`` or ``.yaml`` file, or a name for :func:`get_config`.
        overrides: as for :func:`dmaelab.config.overrides.apply_overrides`. Plug-ins that they name are imported first.
        sections: as for :func:`dmaelab.config.overrides.apply_overrides`.

    Raises:
        ConfigError: the config is missing or cannot be read, or an override cannot be applied.
    """
    trust_named(overrides)
    cfg = LazyConfig.load(config_path(source))
    if Path(source).suffix not in (".yaml", ".yml"):  # a Python config is the user's word
        trust_plugins(cfg.get("plugins") or [])
    load_plugins(cfg)
    return LazyConfig.apply_overrides(cfg, overrides, sections=sections)


def _folders() -> list[Path]:
    package = Path(__file__).resolve().parents[1]
    copied = package / "_configs"
    own = copied if copied.is_dir() else package.parent / "configs"
    asked = os.environ.get("DMAELAB_CONFIGS")
    if asked and not Path(asked).is_dir():
        raise ConfigError(f"$DMAELAB_CONFIGS is '{asked}', which is not a folder")
    return [Path(asked), own] if asked else [own]
