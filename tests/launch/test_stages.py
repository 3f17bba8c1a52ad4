import pytest

from dmaelab.config import open_config
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.stages import PipelineSettings, Stage, repeated
from dmaelab.utils.errors import ConfigError, UserError

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
    assert (log.name, log.certify, log.overrides, log.label) == ("log_seed1", "tune_seed1", ["certify.seed=1"], "row (seed 1)")
    assert [stage.name for stage in repeated(CHAIN, 3)[7:]] == ["tune_seed2", "probe_seed2", "log_seed2"]


def test_a_stage_needs_another_one_without_its_milestone():
    assert [stage.source for stage in CHAIN] == [None, "pre", "tune", "tune"]


def digits(tmp_path, *overrides, debug=False):
    cfg = open_config("pipelines/digits", [f"pipeline.out_dir={tmp_path}", *overrides], {"pipeline": PipelineSettings})
    return Pipeline(cfg, debug)


def test_weights_stand_in_for_a_stage(tmp_path):
    there = digits(tmp_path / "out", f"pipeline.weights={{'pretrain': '{tmp_path / 'elsewhere'}'}}")
    assert there._training_config(there.stages[1]).train.init_from == str(tmp_path / "elsewhere")
    there._train(there.stages[0])
    assert not (tmp_path / "out/pretrain").exists()


def test_a_milestone_is_a_checkpoint_of_its_stage(tmp_path):
    pipeline = digits(tmp_path, "stages.1.init_from=pretrain:early")
    assert pipeline._training_config(pipeline.stages[1]).train.init_from == str(tmp_path / "pretrain/checkpoints/early.pth")


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["pipeline.seeds=0"], ConfigError, r"pipeline.seeds is 0: it must be at least 1"),
        (["pipeline.weights={'pretran': 'x'}"], ConfigError, r"pipeline.weights: there is no training stage 'pretran' \(did you mean"),
        (["pipeline.tables=[4, 7]"], ConfigError, r"pipeline.tables: table 7 is none that logs make"),
        (
            ["pipeline.compare=[['certify_rs', 'cr']]"],
            ConfigError,
            r"\['certify_rs', 'cr'\] is no pair of certification stages; there are: certify_rs",
        ),
        (["pipeline.weights={'rs': 'x.pth'}"], UserError, r"x.pth is not a run directory"),
        (
            ["pipeline.weights={'pretrain': '%s'}", "stages.1.init_from=pretrain:early"],
            ConfigError,
            r"'pretrain:early' is a milestone and pipeline.weights.pretrain one file: give pipeline.weights.pretrain:early as well",
        ),
    ],
)
def test_what_cannot_be_is_said_before_the_start(tmp_path, overrides, error, message):
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(error, match=message):
        digits(tmp_path, *(text.replace("%s", str(tmp_path / "weights.pth")) for text in overrides))
