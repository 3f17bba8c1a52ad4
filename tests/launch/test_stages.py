import logging
import shutil
from dataclasses import replace

import pytest

from dmaelab.config import open_config
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.stages import PipelineSettings, Stage, dependents, repeated
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
    assert (log.name, log.certify, log.overrides, log.label) == (
        "log_seed1",
        "tune_seed1",
        ["certify.seed=1"],
        "row (seed 1)",
    )
    assert [stage.name for stage in repeated(CHAIN, 3)[7:]] == ["tune_seed2", "probe_seed2", "log_seed2"]


def test_a_stage_needs_another_one_without_its_milestone():
    assert [stage.source for stage in CHAIN] == [None, "pre", "tune", "tune"]


def digits(tmp_path, *overrides, debug=False):
    cfg = open_config("pipelines/digits", [f"pipeline.out_dir={tmp_path}", *overrides], {"pipeline": PipelineSettings})
    return Pipeline(cfg, debug)


def test_weights_stand_in_for_a_stage(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    there = digits(tmp_path / "out", f"pipeline.weights={{'pretrain': '{tmp_path / 'elsewhere'}'}}")
    assert there._training_config(there.stages[1]).train.init_from == str(tmp_path / "elsewhere")
    there._train(there.stages[0])
    assert not (tmp_path / "out/pretrain").exists()


def test_a_milestone_is_a_checkpoint_of_its_stage(tmp_path):
    pipeline = digits(
        tmp_path, "stages.1.init_from=pretrain:early", "+stages.0.overrides=[\"train.milestones={'early': 5}\"]"
    )
    assert pipeline._training_config(pipeline.stages[1]).train.init_from == str(
        tmp_path / "pretrain/checkpoints/early.pth"
    )


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["pipeline.seeds=0"], ConfigError, r"pipeline.seeds is 0: it must be at least 1"),
        (
            ["pipeline.weights={'pretran': 'x'}"],
            ConfigError,
            r"pipeline.weights: there is no training stage 'pretran' \(did you mean",
        ),
        (["pipeline.tables=[4, 7]"], ConfigError, r"pipeline.tables: table 7 is none that logs make"),
        (
            ["pipeline.compare=[['certify_rs', 'cr']]"],
            ConfigError,
            r"\['certify_rs', 'cr'\] is no pair of certification stages; there are: certify_rs",
        ),
        (["pipeline.weights={'rs': '%s'}"], UserError, r"weights.pth is not a run directory"),
        (
            ["pipeline.weights={'pretrain': 'nope.pth'}"],
            ConfigError,
            r"pipeline.weights.pretrain: there is no file or run directory nope.pth",
        ),
        (
            ["pipeline.weights={'pretrain': '%s'}"],
            ConfigError,
            r"weights.pth is a file, and pipeline.pictures needs the run directory",
        ),
        (
            ["pipeline.weights={'pretrain:erly': '%s'}", "pipeline.pictures=[]"],
            ConfigError,
            r"pipeline.weights.pretrain:erly: no stage starts from that \(did you mean 'pretrain'\?\)",
        ),
        (
            ["stages.1.init_from=pretrain:erly", "+stages.0.overrides=[\"train.milestones={'early': 5}\"]"],
            ConfigError,
            r"stages.1.init_from: stage 'pretrain' has no milestone 'erly' \(did you mean 'early'\?\); it has: early",
        ),
        (["stages.1.init_from=pretrain:best"], ConfigError, r"stage 'pretrain' has no milestone 'best'; it has none"),
        (
            ["stages.4.certify=rs:best"],
            ConfigError,
            r"stages.4.certify: name the stage 'rs', and certify.weights=best among the overrides",
        ),
        (["pipeline.processes=0"], ConfigError, r"pipeline.processes is 0: give a number of processes, or 'auto'"),
        (
            ["pipeline.weights={'pretrain': '%s'}", "pipeline.pictures=[]", "stages.1.init_from=pretrain:early"],
            ConfigError,
            r"'pretrain:early' is a milestone and pipeline.weights.pretrain one file: give"
            r" pipeline.weights.pretrain:early as well",
        ),
    ],
)
def test_what_cannot_be_is_said_before_the_start(tmp_path, overrides, error, message):
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(error, match=message):
        digits(tmp_path, *(text.replace("%s", str(tmp_path / "weights.pth")) for text in overrides))


def test_a_trial_needs_overrides_of_its_own(tmp_path):
    with pytest.raises(ConfigError, match=r"stage 'pretrain': digits/pretrain has no overrides `debug`"):
        digits(tmp_path, debug=True)


def test_a_copy_may_not_take_the_name_of_a_stage():
    with pytest.raises(ConfigError, match=r"stage 'tune_seed1' has the name of another one's copy"):
        repeated([*CHAIN, Stage("tune_seed1")], 2)


def test_what_needs_a_stage():
    assert [stage.name for stage in dependents("tune", repeated(CHAIN, 2))] == ["tune", "probe", "log"]
    assert len(dependents("pre", repeated(CHAIN, 2))) == 7


def test_a_redo_removes_what_depends_on_it_and_nothing_given(tmp_path):
    given = tmp_path / "out/pretrain"
    for folder in (given, tmp_path / "out/rs/certify/certify_rs", tmp_path / "out/cr", tmp_path / "out/scratch"):
        folder.mkdir(parents=True)
    pipeline = digits(tmp_path / "out", f"pipeline.weights={{'pretrain': '{given}'}}")
    pipeline._discard("rs")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cr", "pretrain", "scratch"]
    with pytest.raises(ConfigError, match=r"--from pretrain: its place is taken by pipeline.weights.pretrain"):
        pipeline._discard("pretrain")


QUICK = ["certifier.n=50", "certifier.n0=10", "certify.batch_size=64"]
SMALL = ["train.max_iter=2", "train.batch_size=32", "train.device=cpu", "train.eval_images=20", "train.precision=fp32"]


def chain(out, *overrides):
    """Pre-train, fine-tune, certify: the first, second and fifth stage of the demo, with a budget of seconds."""
    cfg = open_config("pipelines/digits", [f"pipeline.out_dir={out}", *overrides], {"pipeline": PipelineSettings})
    cfg.stages = [cfg.stages[0], cfg.stages[1], cfg.stages[4]]
    for stage in cfg.stages[:2]:
        stage.overrides = SMALL
    cfg.stages[2].overrides = [
        "certifier.n=50",
        "certifier.n0=10",
        "certify.batch_size=64",
        "certify.device=cpu",
        'certify.subset={"count": 4}',
    ]
    return Pipeline(cfg)


def test_a_stage_is_of_one_config_and_of_the_weights_it_began_with(tmp_path, monkeypatch):
    chain(tmp_path, "pipeline.processes=1").run()
    there = chain(tmp_path)
    there.stages[1].overrides.extend(
        ["train.log_period=7", "train.eval_batch_size=7", "train.eval_images=10"]
    )  # change no weight
    there.run()
    monkeypatch.chdir(tmp_path)
    for stage in chain(".").stages[:2]:  # nor does another way to write the place
        chain(".")._train(stage)
    other = chain(tmp_path / "other")
    other.stages[0].overrides.append("train.seed=1")
    other.run()
    there = chain(tmp_path, f"pipeline.weights={{'pretrain': '{tmp_path / 'other/pretrain'}'}}")
    with pytest.raises(ConfigError, match=r"stage 'rs' began with other weights than .*other/pretrain/.*--from rs"):
        there.run()
    there = chain(tmp_path)
    there.stages[1].overrides.append("train.init_from=None")
    there.stages[1] = replace(there.stages[1], init_from=None)
    with pytest.raises(ConfigError, match=r"stage 'rs' was run with another config \(train.init_from is .*None now"):
        there.run()
    there = chain(tmp_path, f"pipeline.weights={{'pretrain': '{tmp_path / 'other/pretrain'}'}}")
    weights = tmp_path / "pretrain/model_final.pth"
    weights.write_bytes(weights.read_bytes() + b"0")
    with pytest.raises(
        ConfigError, match=r"stage 'rs' began with other weights than .*model_final.pth holds now: redo it"
    ):
        chain(tmp_path).run()
    (tmp_path / "rs/model_final.pth").unlink()  # as if it had been killed
    with pytest.raises(ConfigError, match=r"stage 'rs' began with other weights"):
        there.run()


def test_a_finished_stage_outlives_the_file_it_began_with(tmp_path):
    chain(tmp_path).run()
    file = tmp_path / "given.pth"
    for again in (False, True):
        there = chain(tmp_path)
        there.stages[1] = replace(
            there.stages[1], init_from=None, name="own", overrides=[*SMALL, f"train.init_from={file}"]
        )
        if not again:
            shutil.copy(tmp_path / "pretrain/model_final.pth", file)
        there._train(there.stages[1])
        file.unlink(missing_ok=True)
    assert (tmp_path / "own/model_final.pth").is_file()


def test_a_label_that_has_changed_since_is_mentioned(tmp_path, caplog):
    chain(tmp_path).run()
    there = chain(tmp_path)
    there.stages[0].overrides.append("+labels={'pretrain': 'XYZ'}")
    logging.getLogger("dmaelab").propagate = True
    with caplog.at_level(logging.WARNING):
        there._train(there.stages[0])
    message = (
        "stage 'pretrain' was run with another label, which tables go by (pretrain is None there, 'XYZ' now):"
        " --label corrects it"
    )
    assert caplog.messages[-1] == message


@pytest.mark.slow
def test_stages_in_several_processes(tmp_path, capfd):
    chain(tmp_path, "pipeline.processes=2").run()
    assert (tmp_path / "rs/model_final.pth").exists()
    assert len(list((tmp_path / "rs/certify/certify_rs").glob("shard-*-of-002.tsv"))) == 2
    broken = chain(tmp_path / "broken", "pipeline.processes=2")
    broken.stages[0].overrides.append("train.batch_size=33")
    with pytest.raises(UserError, match=r"processes 0, 1 of 2 failed|process.* of 2 failed"):
        broken.run()
    assert "train.batch_size 33 is not divisible by 2 processes" in capfd.readouterr().err
