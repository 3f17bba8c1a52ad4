"""The configs that come with the package, by name."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmaelab.config.lazy import LazyConfig
from dmaelab.config.targets import load_plugins
from dmaelab.utils.errors import ConfigError, did_you_mean


def get_config(name: str) -> DictConfig:
    """Return the config of that name, such as ``"digits/pretrain"``: a file below one of the config folders.

    They are ``$DMAELAB_CONFIGS``, if set, and the package's own: ``configs/`` beside the package in
    a checkout or an editable install, the copy ``dmaelab/_configs`` in a wheel.

    Raises:
        ConfigError: for an unknown name, with the nearest one.
    """
    name = name.removesuffix(".py")
    for folder in _folders():
        path = folder / f"{name}.py"
        if path.is_file():
            return LazyConfig.load(path)
    known = list_configs()
    raise ConfigError(f"there is no config '{name}'{did_you_mean(name, known) or '; there are: ' + ', '.join(known)}")


def list_configs() -> list[str]:
    """Return the names of the configs that can be run, sorted; ``common/`` holds only parts of such."""
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
    """Return the config of a file, or of a name as in :func:`get_config`, with its plug-ins imported and overrides
    applied.

    Raises:
        ConfigError: for a config that is not there or cannot be read, and for a bad override.
    """
    is_file = Path(source).is_file() or Path(source).suffix in (".py", ".yaml", ".yml")
    cfg = LazyConfig.load(source) if is_file else get_config(str(source))
    load_plugins(cfg)
    return LazyConfig.apply_overrides(cfg, overrides, sections=sections)


def _folders() -> list[Path]:
    package = Path(__file__).resolve().parents[1]
    copied = package / "_configs"
    own = copied if copied.is_dir() else package.parent / "configs"
    asked = os.environ.get("DMAELAB_CONFIGS")
    if asked and not Path(asked).is_dir():
        raise ConfigError(f"$DMAELAB_CONFIGS is '{asked}', which is no folder")
    return [Path(asked), own] if asked else [own]
