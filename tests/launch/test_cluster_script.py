"""The script that sbatch gets: its options, and that no value becomes a line of its own."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from fake_cluster import Report, Training, certification, python_path, work

from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.launch.cluster.script import parameters, script
from dmaelab.launch.cluster.site import VARIABLE
from dmaelab.launch.cluster.slurm import Slurm
from dmaelab.utils.errors import ConfigError, UserError


def options(text):
    """Return the options of sbatch in a script; a name for those without a value."""
    found = [shlex.split(line)[1] for line in text.splitlines() if line.startswith("#SBATCH")]
    return {key: value for key, _, value in (option.removeprefix("--").partition("=") for option in found)}


def made(folder, spread="group", jobs=1, setup=(), after=(), name="train", **settings):
    return script(parameters(SlurmSettings(**settings), name, spread, setup, after), folder, jobs)


@pytest.mark.parametrize(
    ("spread", "gpus", "expected"),
    [
        ("group", 4, ("2", "4", "4")),
        ("group", 0, ("2", "1", None)),
        ("parts", 4, ("1", "1", "1")),
        ("parts", 0, ("1", "1", None)),
        ("one", 4, ("1", "1", "1")),
        ("one", 0, ("1", "1", None)),
    ],
)
def test_nodes_processes_and_gpus(tmp_path, spread, gpus, expected):
    found = options(made(tmp_path, spread, nodes=2, gpus_per_node=gpus))
    assert tuple(found.get(key) for key in ("nodes", "ntasks-per-node", "gpus-per-node")) == expected


def test_the_options_of_a_training(tmp_path):
    assert options(made(tmp_path, time="0:30:30", mem="64GB", tasks_per_node=3, signal_delay=60)) == {
        "job-name": "train",
        "nodes": "1",
        "ntasks-per-node": "3",
        "gpus-per-node": "1",
        "cpus-per-task": "8",
        "mem": "64GB",
        "time": "31",
        "signal": "USR2@60",
        "output": f"{tmp_path}/%j_0_log.out",
        "open-mode": "append",
        "requeue": "",
    }


@pytest.mark.parametrize(
    ("mem", "tasks", "whole", "one"),
    [
        ("64GB", 4, "64GB", "16384M"),
        ("64G", None, "64G", "65536M"),
        ("64000m", 3, "64000m", "21334M"),
        ("1T", 8, "1T", "131072M"),
        ("2m", 4, "2m", "1M"),
        ("0", 4, "0", None),
        (None, 4, None, None),
    ],
)
def test_a_job_with_one_process_gets_its_share_of_the_memory(tmp_path, mem, tasks, whole, one):
    for spread, expected in (("group", whole), ("parts", one), ("one", one)):
        assert options(made(tmp_path, spread, mem=mem, tasks_per_node=tasks)).get("mem") == expected


def test_the_options_of_the_site(tmp_path):
    names = ("partition", "account", "qos", "constraint", "exclude")
    found = options(made(tmp_path, **{name: f"the {name}" for name in names}))
    assert {name: found[name] for name in names} == {name: f"the {name}" for name in names}


def test_a_job_that_can_never_start_is_cancelled(tmp_path):
    found = options(made(tmp_path, after=["12", "13_4"]))
    assert (found["dependency"], found["kill-on-invalid-dep"]) == ("afterok:12:13_4", "yes")
    assert not {"dependency", "kill-on-invalid-dep"} & options(made(tmp_path)).keys()


@pytest.mark.parametrize(("jobs", "array"), [(1, None), (2, "0-1%2"), (100, "0-99%8")])
def test_several_jobs_are_an_array(tmp_path, jobs, array):
    found = options(made(tmp_path, "parts", jobs, array_parallelism=8))
    assert found.get("array") == array
    assert found["output"] == f"{tmp_path}/{'%j' if array is None else '%A_%a'}_0_log.out"


def test_the_signal_is_the_one_that_jobs_wait_for(tmp_path):
    """Submitit reads another one from the environment, when it is imported."""
    lines = ["from dmaelab.launch.cluster import script", "from submitit import JobEnvironment"]
    command = [sys.executable, "-c", "\n".join([*lines, "print(JobEnvironment.USR_SIG)"])]
    environment = {**os.environ, "SUBMITIT_PREEMPT_SIGNAL": "USR1", "PYTHONPATH": python_path()}
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == "USR2\n"


def test_further_options(tmp_path):
    found = options(made(tmp_path, extra={"mail-type": "FAIL,END", "nice": 100, "exclusive": True}, after=["12"]))
    assert (found["mail-type"], found["nice"], found["exclusive"]) == ("FAIL,END", "100", "")
    assert found["dependency"] == "afterok:12"


def test_the_commands_of_the_site_stand_before_the_one_that_starts_python(tmp_path):
    lines = made(tmp_path, setup=["module load cuda", "export A='b c'"]).splitlines()
    first = lines.index("module load cuda")
    assert lines[first + 1] == "export A='b c'"
    (command,) = [number for number, line in enumerate(lines) if line.startswith("srun")]
    assert first + 1 < command
    assert {"--kill-on-bad-exit=1", "--cpus-per-task=8"} <= set(shlex.split(lines[command]))
    assert shlex.split(lines[command])[-4:-2] == ["-u", "-m"]
    assert sys.executable in shlex.split(lines[command])
    assert "# setup" not in made(tmp_path)


@pytest.mark.parametrize(
    ("setup", "status", "printed"),
    [
        (["export A=1", "[ -f none ] && false", "if false; then", "false", "fi", "echo $A"], 3, "1\nthe work\n"),
        (["export A=1", "module load cuda", "echo $A"], 127, ""),
        (["false"], 1, ""),
        (["f() { false; echo no; }", "f"], 1, ""),
        (["cd /no/such/folder || echo other"], 3, "other\nthe work\n"),
    ],
)
def test_a_command_of_the_site_that_fails_ends_the_job(tmp_path, setup, status, printed):
    """What comes after them is not under their rules."""
    lines = made(tmp_path, setup=setup).splitlines()
    first, last = lines.index("set -e"), lines.index("trap - EXIT")
    script = "\n".join([*lines[first - 1 : last + 1], "false", "echo the work", "exit 3"])
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (status, printed)
    if status != 3:
        failed = "module load cuda" if status == 127 else "false"
        assert found.stderr.splitlines()[-1] == f"error: a command of setup failed: {failed}"


@pytest.mark.parametrize("text", ["a b", "a'b", 'a"b', "a; touch x", "$(touch x)", "`touch x`", "a#b", "a --wrap=x"])
def test_values_are_quoted(tmp_path, text):
    folder = tmp_path / text.replace("/", "-")
    plain = made(tmp_path, extra={"comment": "x"}, partition="x", account="x")
    found = made(folder, name=text, partition=text, account=text, extra={"comment": text})
    assert len(found.splitlines()) == len(plain.splitlines())
    values = options(found)
    assert [values[key] for key in ("job-name", "partition", "account", "comment")] == [text] * 4
    assert values["output"] == f"{folder}/%j_0_log.out"
    command = shlex.split(found.splitlines()[-1])
    assert command[0] == "srun"
    assert command[-1] == str(folder)


@pytest.mark.parametrize("settings", [{"partition": "a\n#SBATCH --wrap=x"}, {"extra": {"comment": "a\nb"}}])
def test_a_value_is_one_line(settings):
    with pytest.raises(ConfigError, match="give a text in one line"):
        SlurmSettings(**settings)


@pytest.mark.parametrize("name", ["a\n#SBATCH --comment=x", "run%t", "a\\b"])
def test_a_folder_that_slurm_would_misread_is_refused(slurm, tmp_path, name):
    one = work(tmp_path / name, ("train", Training("")))
    for act in (Slurm().preview, Slurm().launch):
        with pytest.raises(UserError, match=r"cannot hold logs of SLURM, which replaces % and .*: give another one$"):
            act(one)
    assert slurm.calls("sbatch") == []
    assert [path.name for path in tmp_path.iterdir()] == ["commands of SLURM"]


@pytest.fixture
def _site(tmp_path, monkeypatch):
    (tmp_path / "site.py").write_text("slurm = dict(gpus_per_node=2)\nsetup = ['module load cuda']")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "site.py"))


@pytest.mark.usefixtures("_site")
def test_the_preview_shows_the_script_of_each_task_and_needs_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "run"
    tasks = [
        ("train", Training("slurm: {nodes: 2}")),
        ("certify", certification(nodes=3), ("train",)),
        ("rs_seed1", Training(""), ("train", "certify"), "rs"),
        ("report", Report(""), ("train", "certify")),
    ]
    text = Slurm().preview(work(folder, *tasks))
    scripts = dict(
        zip(re.findall("^# (.+), with .+\n#!/bin/bash$", text, re.M), text.split("#!/bin/bash")[1:], strict=True)
    )
    found = {name: options(script) for name, script in scripts.items()}
    assert list(found) == ["train", "certify", "rs_seed1", "report"]
    assert (found["train"]["nodes"], found["train"]["ntasks-per-node"], found["train"]["gpus-per-node"]) == ("2",) * 3
    assert found["certify"]["array"] == "0-5%6"
    assert found["certify"]["dependency"] == "afterok:<train>"
    assert found["rs_seed1"]["job-name"] == "rs"
    assert found["report"]["dependency"] == "afterok:<train>:<certify>"
    assert found["report"]["gpus-per-node"] == "1"
    assert text.count("\nmodule load cuda\n") == 4
    assert not folder.exists()
    assert "0-1%2" in Slurm(processes=2).preview(work(folder, *tasks))


def test_the_preview_of_an_array_is_one_script_that_names_its_tasks(tmp_path):
    names = ("rs", "rs_seed1", "rs_seed2")
    certify = [(f"certify_{name}", certification(nodes=2), (name,), "certify") for name in names]
    other = ("rs_seed3", Training("slurm: {nodes: 2}"), (), "rs")
    text = Slurm().preview(work(tmp_path / "run", *((name, Training(""), (), "rs") for name in names), other, *certify))
    found = re.findall("^# (.+), with .+\n#!/bin/bash$", text, re.M)
    assert found == ["rs, rs_seed1, rs_seed2", "rs_seed3", "certify_rs", "certify_rs_seed1", "certify_rs_seed2"]
    arrays = [options(script).get("array") for script in text.split("#!/bin/bash")[1:]]
    assert arrays == ["0-2%3", None, *["0-1%2"] * 3]


def test_the_cores_of_a_process_are_said_to_srun_too(tmp_path):
    (command,) = [line for line in made(tmp_path, cpus_per_task=5).splitlines() if line.startswith("srun")]
    assert "--cpus-per-task=5" in shlex.split(command)
