"""Tools that run in this process, and a run directory and modules that somebody else has made."""

import runpy
import sys
import warnings
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from dmaelab.config import LazyConfig
from dmaelab.engine.resolve import resolve

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(monkeypatch, capsys):
    """Return a function: a command without ``python`` -> its exit status and what it printed on stderr."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setenv("PYTHONSAFEPATH", "1")

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
        return end.value.code, capsys.readouterr().err

    return run


@pytest.fixture
def marker(tmp_path):
    """A file that exists only if something foreign was run."""
    return tmp_path / "marker"


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """The folder in which the tools are started."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def foreign(finetune_config, tmp_path):
    """Return a function: changes ``key=value`` of the frozen config -> run directory with this config."""

    def make(changes=None, folder="foreign", **sections):
        cfg = resolve(finetune_config(), torch.device("cpu"))
        for key, value in (changes or {}).items():
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        for name, value in sections.items():
            cfg[name] = value
        run = tmp_path / folder
        run.mkdir(parents=True, exist_ok=True)
        LazyConfig.save(cfg, run / "config.yaml")
        return run

    return make


@pytest.fixture
def module(marker):
    """Return a function: folder and name -> a module there, which leaves the marker when it is imported."""

    def write(folder, name="evil"):
        path = Path(folder, *name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"import pathlib\nfrom torch import nn\npathlib.Path({str(marker)!r}).touch()\n"
            "class Thing(nn.Linear):\n    def __init__(self): super().__init__(2, 2)\n"
            "def make(): return Thing()\n"
        )
        return path

    return write
