"""What a site needs for its SLURM, in one Python file: ``configs/common/slurm.py``, or what $DMAELAB_SLURM names."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmaelab.config import LazyConfig, check, get_config
from dmaelab.config.plain import interpolated
from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.utils.errors import ConfigError

VARIABLE = "DMAELAB_SLURM"


@dataclass(frozen=True)
class Site:
    """The file of a site.

    Attributes:
        slurm: its section ``slurm``; the sections of configs win over it.
        setup: shell commands that each job runs before Python starts.
        path: the file, for people.
    """

    slurm: dict[str, Any]
    setup: list[str]
    path: str

    @classmethod
    def load(cls) -> "Site":
        """Read the file.

        Raises:
            ConfigError: it is missing, is no Python file, or something is wrong in it.
        """
        named = os.environ.get(VARIABLE)
        if named and Path(named).suffix != ".py":
            raise ConfigError(f"${VARIABLE} is '{named}': give a Python file such as configs/common/slurm.py")
        path = f"{named} (${VARIABLE})" if named else f"configs/common/slurm.py (${VARIABLE} is not set)"
        try:
            cfg = LazyConfig.load(named) if named else get_config("common/slurm")
            check(cfg, sections={"slurm": SlurmSettings}, plain_sections=("setup",))
            setup = interpolated(cfg.get("setup")) or []
            if not (isinstance(setup, list) and all(isinstance(line, str) for line in setup)):
                raise ConfigError("setup: give a list of shell commands")
            slurm = interpolated(cfg.get("slurm")) or {}
            SlurmSettings.of(slurm)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        return cls(slurm, setup, path)
