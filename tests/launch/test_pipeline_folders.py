"""Which folders a pipeline may make and delete: only those with plain names below its own, and only what is ours."""

import pytest
from omegaconf import OmegaConf

from dmaelab.config import open_config
from dmaelab.engine.settings import CertifySettings, TrainSettings
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.stages import PipelineSettings
from dmaelab.utils.errors import ConfigError, UserError


@pytest.mark.parametrize("stage", ["rs", "certify_rs"])
@pytest.mark.parametrize("kind", ["folder", "link", "log"])
def test_what_is_no_result_of_ours_is_not_deleted(digits, tmp_path, stage, kind):
    """A folder of someone else, a link to a finished run, and a log where a run should be (or the reverse)."""
    folder = tmp_path / "out/rs" if stage == "rs" else tmp_path / "out/rs/certify/certify_rs"
    real = tmp_path / "elsewhere" if kind == "link" else folder
    real.mkdir(parents=True)
    name = {"folder": "thesis.tex", "link": "config.yaml", "log": "header.json"}[kind]
    if kind != "folder" and stage != "rs":
        name = {"config.yaml": "header.json", "header.json": "config.yaml"}[name]
    (real / name).write_text("mine")
    if kind == "link":
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(real)
    with pytest.raises(UserError, match=r"is a symbolic link|is not deleted, because it has no") as error:
        digits(tmp_path / "out").run(restart_at=stage)
    assert "\n" not in str(error.value)
    assert (real / name).read_text() == "mine"


def test_what_a_start_that_failed_has_left_is_deleted(digits, tmp_path):
    run, log = tmp_path / "out/rs", tmp_path / "out/cr/certify/certify_cr"
    for path in (run / ".lock", run / "log.txt", log / ".lock", log / "shard-000-of-001.tsv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for stage in ("rs", "certify_cr"):
        digits(tmp_path / "out", launcher=Idle()).run(stage)
    assert not run.exists()
    assert not log.exists()


class Idle:
    """A launcher that does nothing."""

    def launch(self, work):
        pass


def test_a_trial_deletes_only_what_an_earlier_one_wrote(tmp_path):
    def make():
        cfg = open_config("pipelines/table4", [f"pipeline.out_dir={tmp_path}"], {"pipeline": PipelineSettings})
        return Pipeline(cfg, debug=True, launcher=Idle())

    first = tmp_path / "debug" / make().plan.stages[0].name
    first.mkdir(parents=True)
    (first / "config.yaml").write_text("")
    (tmp_path / "debug/notes.txt").write_text("mine")
    make().run()
    assert [path.name for path in (tmp_path / "debug").iterdir()] == ["notes.txt"]
    first.mkdir()
    (first / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="is not deleted"):
        make().run()


BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/tmp",
    "a\\b",
    "~",
    "-x",
    ".git",
    " ",
    "x ",
    "a\nb",
    "a\0b",
    "x" * 201,
    "${a}",
    5,
]


@pytest.mark.parametrize("name", [*BAD_NAMES, "debug", "jobs", "report", "pretrain:early"])
def test_names_of_stages_are_plain_names(tmp_path, name):
    cfg = open_config("pipelines/digits", [f"pipeline.out_dir={tmp_path / 'out'}"], {"pipeline": PipelineSettings})
    cfg = OmegaConf.to_container(cfg, resolve=True)
    cfg["stages"][0]["name"] = name
    with pytest.raises(ConfigError, match=r"the name of a stage is|refers to no key") as error:
        Pipeline(OmegaConf.create(cfg))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [*[name for name in BAD_NAMES if name not in ("", 5)], "debug", "jobs", "rs"])
def test_the_name_of_the_report_is_a_plain_name(digits, tmp_path, name):
    cfg = open_config("pipelines/digits", [f"pipeline.out_dir={tmp_path / 'out'}"], {"pipeline": PipelineSettings})
    cfg.pipeline.report = name.replace("${", "\\${")
    with pytest.raises(ConfigError, match=r"pipeline\.report") as error:
        Pipeline(cfg)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["pipeline.out_dir", "train.out_dir", "certify.out_dir"])
@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_folder_is_not_the_working_directory_and_no_shell_replaces_a_tilde(key, path):
    settings = {
        "pipeline": lambda: PipelineSettings(path),
        "train": lambda: TrainSettings(path, 8, 1),
        "certify": lambda: CertifySettings(out_dir=path),
    }
    with pytest.raises(ConfigError, match=rf"{key} is '{path}': give a folder"):
        settings[key.partition(".")[0]]()
    path = "~/runs"
    with pytest.raises(ConfigError, match=rf"{key} is '~/runs', and ~ is not replaced there: give \$HOME/\.\.\. or"):
        settings[key.partition(".")[0]]()
