"""Every config that comes with the package loads, is checked as a whole, and survives a round trip through YAML."""

import pytest

from dmaelab.config import LazyConfig, get_config, list_configs
from dmaelab.engine.certification import complete
from dmaelab.engine.training import check_training
from dmaelab.launch.pipeline import Pipeline


def check(cfg):
    if "stages" in cfg:
        Pipeline(cfg)
    elif "certify" in cfg:  # what a run directory would fill in
        complete(cfg, get_config("digits/pretrain"), ["certify.run=runs/any", "corruption.sigma=0.25"])
    else:
        check_training(cfg)


@pytest.mark.parametrize("name", list_configs())
def test_config(name, tmp_path):
    cfg = get_config(name)
    LazyConfig.save(cfg, tmp_path / "config.yaml")
    again = LazyConfig.load(tmp_path / "config.yaml")
    assert again == cfg
    check(cfg)
    check(again)


@pytest.mark.parametrize("name", list_configs())
def test_config_says_how_to_run_it(name):
    from dmaelab.config.zoo import _folders

    header = (_folders()[0] / f"{name}.py").read_text().split('"""')[1]
    assert "python tools/" in header
    assert name in header or f"configs/{name}.py" in header or name == "certify/default"
