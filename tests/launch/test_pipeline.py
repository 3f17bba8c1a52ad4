"""The whole main job, from pixels to the table, with a budget of seconds."""

import json
import logging
import shutil
from dataclasses import replace

import pytest

from dmaelab.config import open_config
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.stages import PipelineSettings
from dmaelab.utils.errors import ConfigError, UserError

SMALL = ["train.max_iter=5", "train.batch_size=32", "train.device=cpu", "train.eval_images=20"]
QUICK = [
    "certifier.n=50",
    "certifier.n0=10",
    "certify.batch_size=64",
    "certify.device=cpu",
    'certify.subset={"count": 4}',
]


def pipeline(out, *overrides, small=SMALL):
    cfg = open_config("pipelines/digits", [f"pipeline.out_dir={out}", *overrides], {"pipeline": PipelineSettings})
    for stage in cfg.stages:
        stage.overrides = [*stage.get("overrides", []), *(QUICK if "certify" in stage else small)]
    return Pipeline(cfg)


def launch_stage(pipeline, name):
    """Launch the task of one stage only; return whether there was one."""
    work = pipeline.work()
    tasks = tuple(task for task in work.tasks if task.name == name)
    pipeline.launcher.launch(replace(work, tasks=tasks))
    return bool(tasks)


@pytest.mark.slow
def test_the_main_job_end_to_end_and_again(tmp_path, caplog, capsys):
    pipeline(tmp_path).run()
    text = capsys.readouterr().out
    assert "DMAE + CR" in text
    assert "RS from scratch" in text
    assert "no evidence for the method" in text
    for name in ("table.md", "table.json", "curves.png", "reconstruction_pretrain.png", "reconstruction_pretrain.json"):
        assert (tmp_path / name).stat().st_size > 0
    assert [record["rows"] for record in json.loads((tmp_path / "table.json").read_text())] == [4, 4, 4]

    # Nothing is done twice, a lost stage is made again alone, and a changed one is refused.
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model_final.pth")}
    (tmp_path / "cr/model_final.pth").unlink()
    pipeline(tmp_path).run()
    changed = [path.parent.name for path, before in times.items() if path.stat().st_mtime_ns != before]
    assert changed == ["cr"]
    message = r"stage 'pretrain' was run with another config \(train.batch_size is 32 there, 16 now\).*--from pretrain"
    with pytest.raises(ConfigError, match=message):
        pipeline(tmp_path, small=[*SMALL, "train.batch_size=16"]).run()

    logging.getLogger("dmaelab").propagate = True
    with caplog.at_level(logging.INFO):
        pipeline(tmp_path).run(restart_at="certify_scratch")
    assert f"deleting the earlier {tmp_path / 'scratch/certify/certify_scratch'}" in caplog.text


def test_an_unknown_stage_to_restart_at_is_named(digits, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no stage 'certfy_rs' \(did you mean 'certify_rs'\?\)"):
        digits(tmp_path).run(restart_at="certfy_rs")


def test_a_redo_removes_what_depends_on_it_and_nothing_given(digits, tmp_path):
    given = tmp_path / "out/pretrain"
    for folder in (given, tmp_path / "out/rs/certify/certify_rs", tmp_path / "out/cr", tmp_path / "out/scratch"):
        folder.mkdir(parents=True)
    (tmp_path / "out/rs/config.yaml").write_text("")
    pipeline = digits(tmp_path / "out", f"pipeline.weights={{'pretrain': '{given}'}}")
    launcher = pipeline.launcher = Accepts()
    pipeline.run("rs")
    assert launcher.seen == [["cr", "pretrain", "scratch"]]
    with pytest.raises(ConfigError, match=r"--from pretrain: pipeline.weights.pretrain replaces this stage"):
        pipeline.run("pretrain")


class Accepts:
    """A launcher that accepts each work and does nothing; it sees what is there when the first job would begin."""

    def __init__(self, error=None):
        self.error, self.seen = error, []

    def launch(self, work):
        if self.error:
            raise self.error
        list(work.in_order())
        self.seen.append(sorted(path.name for path in work.folder.iterdir()))


@pytest.mark.parametrize("error", [UserError("SLURM refuses the job"), KeyboardInterrupt()])
def test_a_redo_that_is_refused_deletes_nothing(digits, tmp_path, error):
    """Days of training must not be lost because a partition was mistyped."""
    (tmp_path / "rs").mkdir()
    (tmp_path / "rs/config.yaml").write_text("mine")
    before = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    with pytest.raises(type(error)):
        digits(tmp_path, launcher=Accepts(error)).run("rs")
    assert {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*") if path.name != ".lock"} == before


def test_a_rehearsal_of_a_redo_shows_what_would_go_and_what_would_run(digits, tmp_path, capsys):
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain/config.yaml").write_text("mine")
    launcher = Accepts()
    launcher.preview = lambda work: " ".join(task.name for task in work.tasks)
    digits(tmp_path, launcher=launcher).rehearse("pretrain")
    assert capsys.readouterr().out.splitlines()[0] == f"would delete {tmp_path / 'pretrain'}"
    assert (tmp_path / "pretrain/config.yaml").read_text() == "mine"
    assert not list(tmp_path.glob("*aside"))


def test_a_redo_whose_job_began_before_the_refusal_keeps_both(digits, tmp_path, log_messages):
    """Such as under SLURM, where the first job may begin before the last one is refused."""

    class Begins(Accepts):
        def launch(self, work):
            (tmp_path / "rs").mkdir()
            raise UserError("SLURM refuses the job")

    (tmp_path / "rs").mkdir()
    (tmp_path / "rs/config.yaml").write_text("mine")
    with pytest.raises(UserError, match="SLURM refuses"):
        digits(tmp_path, launcher=Begins()).run("rs")
    assert (tmp_path / ".rs.aside/config.yaml").read_text() == "mine"
    assert f"the earlier results of {tmp_path}/rs are in {tmp_path}/.rs.aside" in log_messages


def test_what_a_killed_redo_has_set_aside_comes_back(digits, tmp_path):
    (tmp_path / ".rs.aside").mkdir()
    (tmp_path / ".rs.aside/config.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="there is no stage"):
        digits(tmp_path, launcher=Accepts()).run("nothing")
    assert (tmp_path / "rs/config.yaml").read_text() == "mine"


def test_what_a_killed_redo_has_set_aside_does_not_disturb_the_next_one(digits, tmp_path):
    for folder in (tmp_path / "rs", tmp_path / ".rs.aside"):
        folder.mkdir()
        (folder / "config.yaml").write_text("mine")
    launcher = Accepts()
    digits(tmp_path, launcher=launcher).run("rs")
    assert launcher.seen == [[]]


def test_a_stage_in_whose_place_weights_stand_is_not_run(digits, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    pipeline = digits(tmp_path / "out", f"pipeline.weights={{'pretrain': '{tmp_path / 'elsewhere'}'}}")
    assert not launch_stage(pipeline, "pretrain")
    assert not (tmp_path / "out/pretrain").exists()


def test_a_stage_is_of_one_config_and_of_the_weights_it_began_with(chain, tmp_path, monkeypatch):
    chain(tmp_path, "pipeline.processes=1").run()
    there = chain(tmp_path)
    there.plan.stages[1].overrides.extend(
        ["train.log_period=7", "train.eval_batch_size=7", "train.eval_images=10"]
    )  # change no weight
    there.run()
    monkeypatch.chdir(tmp_path)
    for stage in chain(".").plan.stages[:2]:  # nor does another way to write the place
        assert not launch_stage(chain("."), stage.name)
    other = chain(tmp_path / "other")
    other.plan.stages[0].overrides.append("train.seed=1")
    other.run()
    there = chain(tmp_path, f"pipeline.weights={{'pretrain': '{tmp_path / 'other/pretrain'}'}}")
    with pytest.raises(ConfigError, match=r"stage 'rs' began with other weights than .*other/pretrain/.*--from rs"):
        there.run()
    there = chain(tmp_path)
    there.plan.stages[1].overrides.append("train.init_from=None")
    there.plan.stages[1] = replace(there.plan.stages[1], init_from=None)
    with pytest.raises(ConfigError, match=r"stage 'rs' was run with another config \(train.init_from is .*None now"):
        there.run()
    there = chain(tmp_path, f"pipeline.weights={{'pretrain': '{tmp_path / 'other/pretrain'}'}}")
    weights = tmp_path / "pretrain/model_final.pth"
    weights.write_bytes(weights.read_bytes() + b"0")
    with pytest.raises(
        ConfigError, match=r"stage 'rs' began with other weights than .*model_final.pth has now: redo it"
    ):
        chain(tmp_path).run()
    (tmp_path / "rs/model_final.pth").unlink()  # as if it had been killed
    with pytest.raises(ConfigError, match=r"stage 'rs' began with other weights"):
        there.run()


def test_a_finished_stage_is_checked_again_if_the_one_that_it_starts_from_is_redone(chain, tmp_path):
    chain(tmp_path).run()
    written = (tmp_path / "rs/model_final.pth").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "pretrain")
    chain(tmp_path).run()  # the same weights again
    assert (tmp_path / "rs/model_final.pth").stat().st_mtime_ns == written
    shutil.rmtree(tmp_path / "pretrain")
    there = chain(tmp_path)
    there.plan.stages[0].overrides.append("train.seed=1")
    words = r"rs was begun with other settings \(.*hash of train.init_from.*\): redo it, and .* with --from rs$"
    with pytest.raises(UserError, match=words):
        there.run()
    assert (tmp_path / "rs/model_final.pth").stat().st_mtime_ns == written


def test_a_finished_stage_outlives_the_file_it_began_with(chain, tmp_path):
    chain(tmp_path).run()
    file = tmp_path / "given.pth"
    for again in (False, True):
        there = chain(tmp_path)
        there.plan.stages[1:] = [
            replace(there.plan.stages[1], init_from=None, name="own", overrides=[*SMALL, f"train.init_from={file}"])
        ]
        if not again:
            shutil.copy(tmp_path / "pretrain/model_final.pth", file)
        assert launch_stage(there, "own") == (not again)
        file.unlink(missing_ok=True)
    assert (tmp_path / "own/model_final.pth").is_file()


def test_a_label_that_has_changed_since_is_mentioned(chain, tmp_path, caplog):
    chain(tmp_path).run()
    there = chain(tmp_path)
    there.plan.stages[0].overrides.append("+labels={'pretrain': 'XYZ'}")
    logging.getLogger("dmaelab").propagate = True
    with caplog.at_level(logging.WARNING):
        assert not launch_stage(there, "pretrain")
    message = (
        "stage 'pretrain' was run with another label (pretrain is None there, 'XYZ' now), which tables use:"
        " correct it with --label"
    )
    assert caplog.messages[-1] == message


@pytest.mark.slow
def test_stages_in_several_processes(chain, tmp_path, capfd):
    chain(tmp_path, "pipeline.processes=2").run()
    assert (tmp_path / "rs/model_final.pth").exists()
    assert len(list((tmp_path / "rs/certify/certify_rs").glob("shard-*-of-002.tsv"))) == 2
    broken = chain(tmp_path / "broken", "pipeline.processes=2")
    broken.plan.stages[0].overrides.append("train.batch_size=33")
    with pytest.raises(UserError, match=r"processes 0, 1 of 2 failed|process.* of 2 failed"):
        broken.run()
    assert "train.batch_size 33 is not divisible by 2 processes" in capfd.readouterr().err
