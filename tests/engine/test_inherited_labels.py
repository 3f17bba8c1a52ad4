"""The labels of a training: what it inherits, what must be said, and how they reach the log of a certification."""

import logging
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dmaelab.config import LazyConfig, open_config
from dmaelab.engine.inherited_labels import inherit_labels, other_labels
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.subject import TrainedRun
from dmaelab.engine.training import SECTIONS, check_training, run_training
from dmaelab.utils.differences import Difference
from dmaelab.utils.errors import ConfigError


@pytest.fixture
def labelled(finetune_config, tmp_path):
    """Return a function: source of the weights, further overrides -> a fine-tuning config with labels."""

    def make(source, *overrides):
        cfg = finetune_config(f"train.init_from={source}", "train.max_iter=1")
        cfg.labels = {"method": "CR", "sigma": "${model.corruption.sigma}"}
        return OmegaConf.merge(cfg, {"labels": dict(overrides)})

    return make


def pretrained(pretrain_config, out="pretrain", **labels):
    cfg = pretrain_config("train.max_iter=1", out=out)
    cfg.labels = labels
    run_training(cfg)
    return cfg.train.out_dir


def test_a_fine_tuning_inherits_how_its_weights_were_pre_trained(pretrain_config, labelled):
    source = pretrained(pretrain_config, pretrain="MAE", epochs="${train.max_iter}")
    cfg = labelled(source)
    run_training(cfg)
    own = {"method": "mine", "selected_by": None}  # which a label cannot hide
    inherited = {"method": "CR", "sigma": 0.25, "pretrain": "MAE", "epochs": 1}
    assert TrainedRun(cfg.train.out_dir, "final").labels({}) == inherited
    for weights in ("best", f"{cfg.train.out_dir}/checkpoints/best.pth"):
        labels = TrainedRun(cfg.train.out_dir, weights).labels(own)
        assert labels == {**inherited, "method": "mine", "selected_by": "a metric on data.test"}


def test_what_a_run_directory_tells_of_itself_holds(pretrain_config, labelled, caplog):
    """As in a pipeline, whose stages are labelled as the paper's while a run of other epochs stands in for one."""
    source = pretrained(pretrain_config, pretrain="MAE", epochs="${train.max_iter}")
    cfg = labelled(source, ("pretrain", "DMAE"), ("epochs", 1100), ("continued", True))
    logging.getLogger("dmaelab").propagate = True
    with caplog.at_level(logging.WARNING):
        labels = inherit_labels(cfg).labels
    assert dict(labels) == {"method": "CR", "sigma": 0.25, "pretrain": "MAE", "epochs": 1}
    assert caplog.messages == [
        f"labels.{name} is {said} in the config, but {told} in {source}, which is used"
        for name, said, told in (("pretrain", "DMAE", "MAE"), ("epochs", 1100, 1), ("continued", True, False))
    ]
    silent = labelled(pretrained(pretrain_config, pretrain="MAE", out="silent"), ("epochs", 700))
    assert inherit_labels(silent).labels.epochs == 700


def test_a_longer_pre_training_is_labelled_as_such(pretrain_config):
    for steps in (1, 2):
        cfg = pretrain_config("train.max_iter=2", f"+labels={{'pretrain': 'MAE', 'epochs': {steps}}}")
        run_training(cfg, resume=steps == 2)
    assert LazyConfig.load(Path(cfg.train.out_dir) / "config.yaml").labels.epochs == 2


def test_a_run_that_goes_on_knows_what_it_began_with(pretrain_config, labelled):
    cfg = labelled(pretrained(pretrain_config, pretrain="MAE"), ("extra_data", True))
    run_training(cfg)
    again = labelled(None, ("extra_data", True))
    assert dict(inherit_labels(again).labels) == {"method": "CR", "sigma": 0.25, "pretrain": "MAE", "extra_data": True}
    changed = labelled(cfg.train.init_from, ("method", "RS"), ("pretrain", "DMAE"))
    # The other label was never its own to say.
    assert other_labels(RunDirectory(cfg.train.out_dir), changed) == [Difference("method", "CR", "RS")]


def test_a_run_goes_on_without_what_it_started_from(pretrain_config, labelled):
    source = pretrained(pretrain_config, pretrain="MAE")
    cfg = labelled(source)
    run_training(cfg)
    shutil.rmtree(source)
    again = labelled(source)
    run_training(again, resume=True)
    assert RunDirectory(again.train.out_dir).labels["pretrain"] == "MAE"


def test_from_scratch_nothing_was_pre_trained(labelled):
    cfg = labelled(None, ("pretrain", "DMAE"), ("epochs", 1100), ("extra_data", True))
    assert dict(inherit_labels(cfg).labels) == {"method": "CR", "sigma": 0.25, "extra_data": False}


def test_a_file_must_be_labelled_by_hand(labelled, tmp_path):
    with pytest.raises(ConfigError, match=r"labels.pretrain: say what .*dmae.pth is, such as labels.pretrain=DMAE"):
        inherit_labels(labelled(tmp_path / "dmae.pth"))
    cfg = labelled(tmp_path / "dmae.pth", ("pretrain", "DMAE"))
    assert inherit_labels(cfg).labels.pretrain == "DMAE"


def test_a_run_that_does_not_tell_must_be_labelled_too(pretrain_config, labelled):
    with pytest.raises(ConfigError, match=r"labels.pretrain: say what"):
        run_training(labelled(pretrained(pretrain_config)))


def test_labels_are_checked():
    cfg = open_config("imagenet/finetune_base_cr", ["labels.epochs=700", "+labels.trick='x'"], SECTIONS)
    check_training(cfg)
    with pytest.raises(ConfigError, match=r"labels.epochs: expects int \| None; 'many' is text"):
        open_config("imagenet/finetune_base_cr", ["labels.epochs=many"], SECTIONS)
