"""What makes a config another training than the one that a run was frozen with."""

import pytest
import torch
from omegaconf import OmegaConf

from dmaelab.engine.resolve import resolve
from dmaelab.engine.weight_changes import weight_changes


@pytest.fixture
def cfg():
    """A training config in all that is asked of one here."""
    return OmegaConf.create(
        {
            "model": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2, "attention": "auto"},
            "train": {"out_dir": "run", "batch_size": 4, "max_iter": 2, "device": "cpu"},
            "labels": {"method": "RS"},
            "debug": ["train.max_iter=1"],
        }
    )


@pytest.fixture
def frozen(cfg):
    """The config that a run directory would keep of it."""
    frozen = resolve(cfg, torch.device("cpu"))
    frozen.pop("debug")
    return frozen


def changed(frozen, cfg):
    return {change.key for change in weight_changes(frozen, cfg)}


def test_the_config_of_a_run_is_no_change(frozen, cfg):
    assert changed(frozen, cfg) == set()
    assert changed(frozen, frozen) == set()


def test_an_option_that_came_later_is_no_change(frozen, cfg):
    """A run that was frozen before there was an option is still one of the same config."""
    del frozen.train["compile"]
    assert changed(frozen, cfg) == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.out_dir", "elsewhere"),
        ("train.num_workers", 3),
        ("train.log_period", 7),
        ("train.checkpoint_period", 7),
        ("train.keep_checkpoints", 7),
        ("train.eval_batch_size", 7),
        ("train.eval_period", 1),
        ("train.eval_images", 7),
        ("train.device", "auto"),
        ("train.tensorboard", True),
        ("train.precision", "auto"),
        ("model.attention", "sdpa"),
        ("labels.method", "CR"),
        ("debug", ["train.max_iter=2"]),
    ],
)
def test_what_changes_no_weight_is_no_change(frozen, cfg, key, value):
    OmegaConf.update(cfg, key, value)
    assert changed(frozen, cfg) == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.compile", True),
        ("train.seed", 3),
        ("train.sync_batchnorm", True),
        ("train.max_iter", 3),
        ("train.batch_size", 8),
        ("train.precision", "bf16"),
        ("train.ema_decay", 0.5),
        ("train.init_from", "elsewhere"),
        ("train.milestones.early", 1),
        ("model.in_features", 3),
        ("model.bias", False),
    ],
)
def test_what_changes_the_weights_is_a_change(frozen, cfg, key, value):
    OmegaConf.update(cfg, key, value)
    assert changed(frozen, cfg) == {key}


def test_how_a_run_evaluates_matters_where_it_selects_the_best(frozen, cfg):
    cfg.train.update(best_metric="accuracy", eval_period=1, eval_images=7)
    assert changed(frozen, cfg) == {"train.best_metric", "train.eval_period", "train.eval_images"}


def test_a_class_that_has_moved_is_no_change(frozen, cfg):
    cfg.model._target_ = "dmaelab.certifiers.build.build_certifier"
    frozen.model._target_ = "dmaelab.smoothing.build.build_certifier"  # where it was before
    assert changed(frozen, cfg) == set()
    cfg.model._target_ = "dmaelab.losses.build.build_loss"
    assert changed(frozen, cfg) == {"model._target_"}
