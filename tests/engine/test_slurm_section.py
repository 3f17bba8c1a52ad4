"""The section ``slurm``: what it accepts, and that it is no part of a run."""

import pytest
import torch

from dmaelab.config import check, open_config
from dmaelab.engine import certification, training
from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.launch import pipeline
from dmaelab.utils.errors import ConfigError

TEXTS = ["partition", "account", "qos", "constraint", "exclude", "mem", "time"]


def test_a_day_on_one_machine_with_one_gpu_is_the_default():
    settings = SlurmSettings()
    assert (settings.minutes, settings.nodes, settings.gpus_per_node, settings.processes) == (24 * 60, 1, 1, 1)
    assert {name for name, value in vars(settings).items() if value is None} == {
        "partition", "account", "qos", "constraint", "exclude", "tasks_per_node", "mem",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        (5, 5),
        ("5", 5),
        ("90:00", 90),
        ("90:01", 91),
        ("1:30:00", 90),
        ("12:00:00", 720),
        ("0:02:01", 3),
        ("2-0", 2880),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("2-00:00:00", 2880),
        ("1-00:00:59", 1441),
    ],
)
def test_times_have_the_forms_that_sbatch_takes(time, minutes):
    assert SlurmSettings(time=time).minutes == minutes


@pytest.mark.parametrize(
    "time",
    [
        "tomorrow",
        "UNLIMITED",
        "1h",
        "-5",
        "1.5",
        " 5",
        "5 ",
        "12:",
        ":30",
        "1-",
        "-1:00",
        "1-2-3",
        "1:2:3:4",
        "1-2:3:4:5",
    ],
)
def test_other_times_are_refused(time):
    with pytest.raises(ConfigError, match=r"^slurm\.time is '.*': give minutes, or a text such as '12:00:00' or '2-"):
        SlurmSettings(time=time)


@pytest.mark.parametrize("mem", ["64 GB", "4.5G", "", "lots", "-1", "64", "64000", "64GiB", "64GG", -1, " 5"])
def test_an_amount_of_memory_has_the_form_that_sbatch_takes(mem):
    with pytest.raises(ConfigError, match=r"^slurm\.mem is '.*': give "):
        SlurmSettings(mem=mem)


@pytest.mark.parametrize(("time", "delay"), [(0, 120), (-5, 120), (2, 120), ("2:00", 120), ("1:00:00", 3600), (1, 61)])
def test_a_job_is_not_told_to_stop_when_it_starts(time, delay):
    with pytest.raises(ConfigError, match=rf"^slurm\.time is {time} and slurm\.signal_delay is {delay} s: the time"):
        SlurmSettings(time=time, signal_delay=delay)
    SlurmSettings(time="1:01:00", signal_delay=delay)


@pytest.mark.parametrize("end", ["\n", "\r", "\0", "\x1b", "\u2028"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_one_line(name, end):
    for text in (f"debug{end}#SBATCH --wrap=x", f"5{end}", end):
        with pytest.raises(ConfigError, match=rf"^slurm\.{name} is '.*': give a text in one line$") as error:
            SlurmSettings(**{name: text})
        assert "\n" not in str(error.value)
        with pytest.raises(ConfigError, match=r"^slurm\.extra\.comment is '.*': give a text in one line$"):
            SlurmSettings(extra={"comment": text})
        with pytest.raises(ConfigError, match=r"^slurm\.extra: '.*' is no long option of sbatch") as error:
            SlurmSettings(extra={f"comment{text}": "x"})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_not_empty(name):
    with pytest.raises(ConfigError, match=rf"^slurm\.{name} is '': give a text in one line$"):
        SlurmSettings(**{name: ""})


def test_further_options_have_their_long_names():
    extra = {
        "mail-type": "FAIL",
        "mail-user": "me@here",
        "exclusive": True,
        "nice": 100,
        "gres": "gpu:4",
        "mem-bind": "local",
    }
    assert SlurmSettings(extra=extra).extra == extra
    for key in ("-A", "--mail-type", "mail_type", "Mail-Type", "mail-", "-", "", "a b", "a=b", 5, None):
        with pytest.raises(ConfigError, match=r"^slurm\.extra: .* is no long option of sbatch, such as 'mail-type'$"):
            SlurmSettings(extra={key: "x"})


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        *((name, f": use slurm.{name}") for name in ("partition", "account", "qos", "constraint", "exclude", "nodes")),
        ("mem", ": use slurm.mem"),
        ("time", ": use slurm.time"),
        ("gpus-per-node", ": use slurm.gpus_per_node"),
        ("gpus", ": use slurm.gpus_per_node"),
        ("ntasks-per-node", ": use slurm.tasks_per_node"),
        ("ntasks", ": use slurm.nodes and slurm.tasks_per_node"),
        ("cpus-per-task", ": use slurm.cpus_per_task"),
        ("signal", ": use slurm.signal_delay"),
        ("sig", ": use slurm.signal_delay"),
        ("part", ": use slurm.partition"),
        *((name, "") for name in ("array", "chdir", "clusters", "dependency", "error", "export", "job-name", "job")),
        *((name, "") for name in ("kill-on-invalid-dep", "no-requeue", "open-mode", "output", "outp", "parsable")),
        *((name, "") for name in ("test-only", "wait", "wrap", "wra", "quiet", "export-file", "get-user-env", "gid")),
        *((name, "") for name in ("help", "no-kill", "time-min", "uid", "usage", "verbose", "version", "requeue")),
    ],
)
def test_options_of_the_launcher_are_no_further_ones(key, instead):
    """Nor by their first letters, which sbatch takes for the option."""
    with pytest.raises(ConfigError) as error:
        SlurmSettings(extra={key: "x"})
    assert str(error.value) == f"slurm.extra: '{key}' cannot be set here{instead}"


@pytest.mark.parametrize("key", ["contain", "container", "container-id", "container-image", "container-mounts"])
def test_an_override_names_no_container(key):
    """It would say what is executed."""
    with pytest.raises(ConfigError, match=rf"^slurm\.extra: '{key}' cannot be set here, because an override must exec"):
        SlurmSettings(extra={key: "/tmp/x"})


@pytest.mark.parametrize("value", [None, False, ["a"], {"a": "b"}])
def test_a_further_option_has_a_plain_value(value):
    with pytest.raises(ConfigError, match=r"^slurm\.extra\.comment is .*: give a text or a number, or true for an"):
        SlurmSettings(extra={"comment": value})


@pytest.mark.parametrize("name", ["nodes", "tasks_per_node", "cpus_per_task", "signal_delay", "array_parallelism"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_are_positive(name, value):
    with pytest.raises(ConfigError, match=rf"^slurm\.{name} is {value}: it must be at least 1$"):
        SlurmSettings(**{name: value})


def test_no_gpus_are_fine_but_not_fewer():
    assert SlurmSettings(gpus_per_node=0).gpus_per_node == 0
    with pytest.raises(ConfigError, match=r"^slurm\.gpus_per_node is -1: it must not be negative$"):
        SlurmSettings(gpus_per_node=-1)


@pytest.mark.parametrize(
    ("section", "tasks", "processes"),
    [
        ({}, 1, 1),
        ({"gpus_per_node": 4}, 4, 4),
        ({"nodes": 2, "gpus_per_node": 4}, 4, 8),
        ({"nodes": 2, "gpus_per_node": 4, "tasks_per_node": 1}, 1, 2),
        ({"nodes": 3, "gpus_per_node": 0}, 1, 3),
        ({"nodes": 3, "gpus_per_node": 0, "tasks_per_node": 5}, 5, 15),
    ],
)
def test_a_training_has_a_process_for_each_gpu(section, tasks, processes):
    settings = SlurmSettings(**section)
    assert (settings.tasks, settings.processes) == (tasks, processes)


def test_later_sections_win_key_by_key():
    site = {"partition": "gpu", "nodes": 2, "extra": {"mail-type": "END"}}
    stage = {"nodes": 4, "extra": {"nice": 5}}
    found = SlurmSettings.of(site, {}, stage)
    assert found == SlurmSettings(partition="gpu", nodes=4, extra={"nice": 5})
    assert SlurmSettings.of(stage, site).nodes == 2
    assert SlurmSettings.of() == SlurmSettings()
    assert SlurmSettings.of({"nodes": 0}, {"nodes": 1}).nodes == 1
    with pytest.raises(ConfigError, match=r"slurm\.nodes is 0"):
        SlurmSettings.of({"nodes": 1}, {"nodes": 0})


CONFIGS = {
    "digits/pretrain": training.SECTIONS,
    "certify/default": certification.SECTIONS,
    "pipelines/digits": pipeline.SECTIONS,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_overrides_need_no_section_in_the_config(name):
    assert "slurm" not in open_config(name)
    cfg = open_config(name, ["slurm.partition=debug", "slurm.nodes=2", "slurm.time=2:00:00"], CONFIGS[name])
    assert cfg.slurm == {"partition": "debug", "nodes": 2, "time": "2:00:00"}
    for override, message in {
        "slurm.partitin=debug": r"^slurm\.partitin: no such key \(did you mean 'partition'\?\)$",
        "slurm.nodes=many": r"^slurm\.nodes: expects int; 'many' is text$",
        "slurm.time=[5]": r"^slurm\.time: expects int \| str",
        "slurm.extra=fast": r"^slurm\.extra: expects dict",
    }.items():
        with pytest.raises(ConfigError, match=message):
            open_config(name, [override], CONFIGS[name])


def test_a_section_in_a_config_is_checked():
    cfg = open_config("digits/pretrain")
    cfg.slurm = {"partitin": "debug"}
    with pytest.raises(ConfigError, match=r"slurm\.partitin.*did you mean 'partition'"):
        check(cfg, sections=training.SECTIONS, allowed=("model", "optimizer", "schedule", "hooks", "trainer"))


def test_a_run_keeps_no_section_slurm(pretrain_config, tmp_path):
    cfg = pretrain_config("slurm.nodes=2")
    training.check_training(cfg)
    run = RunDirectory(tmp_path / "pretrain")
    run.freeze(resolve(cfg, torch.device("cpu")), resume=False, steps=1, from_step=0)
    assert "slurm" not in run.config
    assert "slurm" not in (tmp_path / "pretrain/config.yaml").read_text()
    for again in (pretrain_config(), pretrain_config("slurm.nodes=8", "slurm.partition=debug")):
        assert run.changes(again) == []
    assert cfg.slurm.nodes == 2
