"""What makes a config another training than the one in a run directory."""

import pytest

from dmaelab.config import LazyConfig
from dmaelab.engine import run_training
from dmaelab.engine.run_dir import RunDirectory


@pytest.fixture
def run(pretrain_config, tmp_path):
    """A finished run of one step, and its config."""
    cfg = pretrain_config("train.max_iter=1", "train.log_period=1")
    run_training(cfg)
    return tmp_path / "pretrain", cfg


def test_an_option_that_came_later_is_no_change(run):
    """Runs that were frozen before there was `train.compile` are still those of the same config."""
    folder, cfg = run
    frozen = LazyConfig.load(folder / "config.yaml")
    del frozen.train["compile"]
    LazyConfig.save(frozen, folder / "config.yaml")
    assert RunDirectory(folder).changes(cfg) == []


def test_what_changes_the_weights_is_a_change(run):
    folder, cfg = run
    cfg.train.compile, cfg.train.log_period, cfg.train.seed = True, 7, 3
    assert {change.key for change in RunDirectory(folder).changes(cfg)} == {"train.compile", "train.seed"}
