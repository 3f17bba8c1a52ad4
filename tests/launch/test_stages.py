"""Stages, their copies for seeds, and who needs whom."""

import pytest

from dmaelab.launch.stages import Stage, dependents, read_stages, repeated
from dmaelab.utils.errors import ConfigError

CHAIN = [
    Stage("pre", once=True),
    Stage("tune", overrides=["x=1"], init_from="pre:early"),
    Stage("probe", init_from="tune:late"),
    Stage("log", certify="tune", label="row"),
]


def test_one_seed_is_the_pipeline_as_it_is_written():
    assert repeated(CHAIN, 1) == CHAIN


def test_further_seeds_share_what_is_done_once():
    first, second = repeated(CHAIN, 3)[:4], repeated(CHAIN, 3)[4:7]
    assert first == CHAIN
    tune, probe, log = second
    assert (tune.name, tune.init_from, tune.overrides) == ("tune_seed1", "pre:early", ["x=1", "train.seed=1"])
    assert (probe.name, probe.init_from) == ("probe_seed1", "tune_seed1:late")
    assert (log.name, log.certify, log.overrides, log.label) == (
        "log_seed1",
        "tune_seed1",
        ["certify.seed=1"],
        "row (seed 1)",
    )
    assert [stage.name for stage in repeated(CHAIN, 3)[7:]] == ["tune_seed2", "probe_seed2", "log_seed2"]


def test_a_stage_needs_another_one_without_its_milestone():
    assert [stage.source for stage in CHAIN] == [None, "pre", "tune", "tune"]


def test_a_copy_may_not_take_the_name_of_a_stage():
    with pytest.raises(ConfigError, match=r"stage 'tune_seed1' has the name of another stage's copy"):
        repeated([*CHAIN, Stage("tune_seed1")], 2)


def test_what_needs_a_stage():
    assert [stage.name for stage in dependents("tune", repeated(CHAIN, 2))] == ["tune", "probe", "log"]
    assert len(dependents("pre", repeated(CHAIN, 2))) == 7


def test_stages_are_read_from_a_config():
    assert read_stages([{"name": "pre", "once": True}, {"name": "log", "certify": "pre"}]) == [
        Stage("pre", once=True),
        Stage("log", certify="pre"),
    ]
    with pytest.raises(ConfigError, match=r"stages.1.lable: a stage has no key 'lable' \(did you mean 'label'\?\)"):
        read_stages([{"name": "pre"}, {"name": "log", "lable": "x"}])
    with pytest.raises(ConfigError, match=r"stages.0: a stage needs a name"):
        read_stages([{"once": True}])
