"""What is wrong with a pipeline is said before it starts, in one line."""

import pytest

from dmaelab.utils.errors import ConfigError, UserError


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
def test_a_pipeline_is_checked_before_it_starts(digits, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        digits(tmp_path, override)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["pipeline.seeds=0"], ConfigError, r"pipeline.seeds is 0: it must be at least 1"),
        (
            ["pipeline.weights={'pretran': 'x'}"],
            ConfigError,
            r"pipeline.weights: there is no training stage 'pretran' \(did you mean",
        ),
        (["pipeline.tables=[4, 7]"], ConfigError, r"pipeline.tables: table 7 cannot be made from logs"),
        (
            ["pipeline.compare=[['certify_rs', 'cr']]"],
            ConfigError,
            r"\['certify_rs', 'cr'\] is not a pair of certification stages; there are: certify_rs",
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
            r"pipeline.weights.pretrain:erly: no stage starts from 'pretrain:erly' \(did you mean 'pretrain'\?\)",
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
            r"'pretrain:early' is a milestone, but pipeline.weights.pretrain is a single file: give"
            r" pipeline.weights.pretrain:early as well",
        ),
    ],
)
def test_what_cannot_be_is_said_before_the_start(digits, tmp_path, overrides, error, message):
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(error, match=message):
        digits(tmp_path, *(text.replace("%s", str(tmp_path / "weights.pth")) for text in overrides))


def test_a_trial_needs_overrides_of_its_own(digits, tmp_path):
    with pytest.raises(ConfigError, match=r"stage 'pretrain': digits/pretrain has no overrides `debug`"):
        digits(tmp_path, debug=True)
