"""Every config that comes with the package loads, is checked as a whole, and survives a round trip through YAML."""

import shlex
from pathlib import Path

import pytest

from dmaelab.config import LazyConfig, get_config, list_configs, open_config
from dmaelab.config.zoo import _folders
from dmaelab.engine.certification import complete
from dmaelab.engine.classes import check_declared_classes
from dmaelab.engine.settings import CertifySettings
from dmaelab.engine.training import SECTIONS, check_training
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.stages import PipelineSettings

ROOT = Path(__file__).resolve().parents[1]
ALL_SECTIONS = {**SECTIONS, "certify": CertifySettings, "pipeline": PipelineSettings}


def check(cfg):
    if "stages" in cfg:
        Pipeline(cfg)
    elif "certify" in cfg:
        check_certification(cfg)
    else:
        check_training(cfg)
        check_declared_classes(cfg)


def check_certification(cfg, *overrides):
    """Check a certification config with what a run directory would fill in."""
    complete(cfg, get_config("digits/pretrain"), ["certify.run=runs/any", "corruption.sigma=0.25", *overrides])


@pytest.mark.parametrize("name", list_configs())
def test_config(name, tmp_path):
    cfg = get_config(name)
    LazyConfig.save(cfg, tmp_path / "config.yaml")
    again = LazyConfig.load(tmp_path / "config.yaml")
    assert again == cfg
    check(cfg)
    check(again)


def commands(name):
    """Return the commands of a config's header, each as its words."""
    header = (_folders()[0] / f"{name}.py").read_text().split('"""')[1].replace("\\\\\n", " ")
    lines = [line for line in header.splitlines() if line.startswith(("    python ", "    torchrun "))]
    return [shlex.split(line[line.index("tools/") :], comments=True) for line in lines]


@pytest.mark.parametrize("name", list_configs())
def test_the_commands_of_a_header_name_the_config_and_keys_that_it_has(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # where they are typed
    sources = []
    for tool, *words in commands(name):
        assert (ROOT / tool).is_file()
        source = next(word for word in words if "/" in word and "=" not in word)
        source = name if source.startswith("runs/") else source  # a run directory takes the default
        sources.append(source.removeprefix("configs/").removesuffix(".py"))
        assert sources[-1] in list_configs()
        overrides = [word for word in words if "=" in word]
        if tool == "tools/certify.py":
            check_certification(open_config(source), *overrides)
        elif overrides:
            open_config(source, overrides, ALL_SECTIONS)
    assert name in sources
