"""The whole main job, from pixels to the table, with a budget of seconds."""

import json
import logging
from types import SimpleNamespace

import pytest

from dmaelab.analysis.log_labels import relabel
from dmaelab.config import open_config
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.report import paper_tables, write_report
from dmaelab.launch.stages import PipelineSettings
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import ConfigError

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


@pytest.mark.slow
def test_the_main_job_end_to_end_and_again(tmp_path, caplog):
    pipeline(tmp_path).run()
    text = write_report(pipeline(tmp_path))
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
    assert f"removing {tmp_path / 'scratch/certify/certify_scratch'}" in caplog.text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "stages.1.init_from=pretran",
            r"stages.1.init_from: there is no earlier training stage 'pretran' \(did you mean 'pretrain'\?\)",
        ),
        ("stages.4.certify=certify_rs", r"no earlier training stage 'certify_rs'"),
        ("stages.2.name=rs", r"two stages are called 'rs'"),
        ("stages.0.config=digits/pretran", r"no config 'digits/pretran' \(did you mean 'digits/pretrain'\?\)"),
        ("+stages.0.overides=[]", r"a stage has no key 'overides' \(did you mean 'overrides'\?\)"),
        (
            "+stages.0.overrides=['train.max_itr=1']",
            r"stage 'pretrain': train.max_itr: no such key \(did you mean 'max_iter'\?\)",
        ),
        ("pipeline.pictures=['certify_rs']", r"pipeline.pictures: there is no training stage 'certify_rs'"),
        ("pipeline.outdir=x", r"pipeline.outdir: no such key \(did you mean 'out_dir'\?\)"),
    ],
)
def test_a_pipeline_is_checked_before_it_starts(override, message):
    with pytest.raises(ConfigError, match=message):
        Pipeline(open_config("pipelines/digits", [override], {"pipeline": PipelineSettings}))


def test_an_unknown_stage_to_restart_at_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no stage 'certfy_rs' \(did you mean 'certify_rs'\?\)"):
        pipeline(tmp_path).run(restart_at="certfy_rs")


def test_a_report_shows_answers_without_radii_in_the_table_alone(tmp_path):
    log = tmp_path / "answers.tsv"
    log.write_text("idx\tlabel\tpredict\n0\t0\t0\n")
    settings = PipelineSettings(out_dir=str(tmp_path))
    text = write_report(SimpleNamespace(settings=settings, out=tmp_path, debug=False, logs=lambda: [("answers", log)]))
    assert "answers" in text
    assert "curves" not in text
    assert not (tmp_path / "curves.png").exists()


def test_a_report_has_the_papers_tables_at_radii_of_its_own(tmp_path):
    (tmp_path / "log.tsv").write_text(
        "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t1\t1\t0.3\t1\t0.1\n1\t1\t1\t0.1\t1\t0.1\n"
    )
    labels = {"method": "RS", "backbone": "tiny", "eval_sigma": 0.25, "n": 400, "n0": 100, "alpha": 0.001}
    log = relabel(read_log(tmp_path / "log.tsv"), labels)
    assert paper_tables(2, [log], tmp_path, [0.0, 0.25, 1.0]).count("r=") == 3
    assert (tmp_path / "table2.tex").read_text().count("r=") == 3
    assert (tmp_path / "table2.md").read_text().count("r=") == 3
    assert paper_tables(2, [log], tmp_path).count("r=") == 6
