"""What both launchers do around a submission: folders that come and go, the environment of the jobs, and the words."""

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_cluster import FORGOTTEN, Report, python_path, state, submission, task, work

from dmaelab.config import LazyConfig
from dmaelab.launch.cluster.new_records import new_records
from dmaelab.launch.cluster.records import JOBS, Submission
from dmaelab.launch.cluster.run import Run
from dmaelab.launch.cluster.submitting import check_alone, environment_of_jobs, pickled, record, words
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import file_hash

ROOT = Path(__file__).parents[2]


def tree(folder):
    """Return path -> content of all that is in a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def fail(folder):
    """Begin a submission, write what submitit writes, and fail."""
    with suppress(ZeroDivisionError), new_records(folder) as jobs:
        (jobs / "state/train.0.0.json").write_text("new")
        (jobs / "12").mkdir()
        (jobs / "12/12_submitted.pkl").write_text("new")
        (jobs / ".submission_file.sh").symlink_to(jobs / "12")
        raise ZeroDivisionError


def test_folders_are_made_and_stay(tmp_path):
    with new_records(tmp_path / "runs/a") as jobs:
        assert jobs == tmp_path / "runs/a" / JOBS
    assert sorted(tree(tmp_path / "runs")) == [tmp_path / "runs/a", jobs, jobs / "logs", jobs / "state"]


def test_after_a_failure_new_folders_are_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "runs/b/c", Path("runs/b/c"), Path("c")):
        fail(folder)
        assert tree(tmp_path) == {}


@pytest.mark.parametrize("kept", ["runs/a/config.yaml", "runs/a/jobs/mine.txt", "runs/mine.txt"])
def test_after_a_failure_files_of_the_user_are_kept(tmp_path, kept):
    (tmp_path / kept).parent.mkdir(parents=True)
    (tmp_path / kept).write_text("mine")
    before = tree(tmp_path)
    fail(tmp_path / "runs/a")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kept", ["runs/a", "runs/a/jobs", "runs/a/jobs/state"])
def test_after_a_failure_empty_folders_of_the_user_are_kept(tmp_path, kept):
    (tmp_path / kept).mkdir(parents=True)
    before = tree(tmp_path)
    fail(tmp_path / "runs/a")
    assert tree(tmp_path) == before


@pytest.fixture
def earlier(slurm, tmp_path):
    """A folder with the records of an earlier submission, whose job has ended."""
    folder = tmp_path / "a"
    submission(folder, task(folder, "train", "11"))
    slurm.says("squeue", error=FORGOTTEN, status=1)
    slurm.says("sacct")
    state(folder, "11", "finished")
    return folder


def test_after_a_failure_the_earlier_submission_is_as_before(earlier):
    state(earlier, "11", "finished", rank=1)
    before = tree(earlier)
    fail(earlier)
    assert tree(earlier) == before


def test_a_new_submission_forgets_the_states_of_the_earlier_one(earlier):
    (earlier / JOBS / "earlier").mkdir()  # of a command that was killed
    (earlier / JOBS / "earlier/submission.json").touch()
    with new_records(earlier) as jobs:
        (jobs / "state/train.1.0.json").touch()  # by a job that starts at once
        (jobs / "submission.json").touch()
    assert [path.name for path in (jobs / "state").iterdir()] == ["train.1.0.json"]
    assert sorted(path.name for path in jobs.iterdir()) == ["logs", "state", "submission.json"]


def test_a_failure_after_the_record_was_written_brings_the_earlier_one_back(earlier):
    before = tree(earlier)
    with suppress(ZeroDivisionError), new_records(earlier):
        submission(earlier, task(earlier, "train", "12"))
        raise ZeroDivisionError
    assert tree(earlier) == before


def test_a_failure_while_records_come_back_loses_none(earlier, monkeypatch):
    """They stay in a folder beside it."""
    real = Path.rename

    def rename(path, target):
        if path.parent.name == "earlier":
            raise OSError(5, "Input/output error")
        return real(path, target)

    with suppress(OSError), new_records(earlier):
        monkeypatch.setattr(Path, "rename", rename)
        raise ZeroDivisionError
    assert (earlier / JOBS / "earlier/submission.json").is_file()


def test_two_commands_cannot_submit_for_one_folder_at_once(tmp_path):
    """The second one is refused, and removes nothing of the first one."""
    lines = [
        "from pathlib import Path",
        "from dmaelab.launch.cluster.new_records import new_records",
        f"with new_records(Path({str(tmp_path / 'a')!r})): pass",
    ]
    with new_records(tmp_path / "a") as jobs:
        (jobs / "12").mkdir()
        before = tree(tmp_path)
        command = [sys.executable, "-c", "\n".join(lines)]
        found = subprocess.run(command, env={**os.environ, "PYTHONPATH": python_path()}, capture_output=True, text=True)
        assert found.stderr.splitlines()[-1].endswith(
            f"UserError: {tmp_path / 'a'}: another command is submitting jobs here: wait for its end"
        )
        assert tree(tmp_path) == before
    assert sorted(path.name for path in jobs.iterdir()) == ["12", "logs", "state"]


@pytest.mark.parametrize("name", ["file/run", "file", "runs"])
def test_a_place_where_no_folder_can_be_is_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/jobs").touch()
    before = tree(tmp_path)
    expected = rf"^{tmp_path / name} cannot be created: (Not a directory|File exists)$"
    with pytest.raises(UserError, match=expected), new_records(tmp_path / name):
        pass
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"])
def test_torchrun_cannot_submit(monkeypatch, name):
    for other in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(other, raising=False)
    check_alone()
    monkeypatch.setenv(name, "1")
    with pytest.raises(
        UserError, match=rf"^--launcher cannot be combined with torchrun \(\${name} is set\): leave out"
    ):
        check_alone()


def test_jobs_get_what_is_to_be_kept_too(monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "lab")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "5")
    monkeypatch.delenv("SBATCH_QOS", raising=False)
    with environment_of_jobs(["SBATCH_ACCOUNT", "SBATCH_QOS"]):
        assert {name: value for name, value in os.environ.items() if name.startswith("SBATCH_")} == {
            "SBATCH_ACCOUNT": "lab"
        }
    assert os.environ["SBATCH_TIMELIMIT"] == "5"


@pytest.mark.parametrize("path", [None, "/a:/b"])
@pytest.mark.parametrize("error", [None, KeyError])
def test_jobs_get_the_environment_without_the_own_job(monkeypatch, path, error):
    for name in ("SLURM_JOB_ID", "SLURM_CONF", "SBATCH_PARTITION", "SUBMITIT_EXECUTOR", "RANK", "MASTER_PORT", "MINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    before = dict(os.environ)
    try:
        with environment_of_jobs():
            changed = {name for name, value in before.items() if os.environ.get(name) != value}
            assert changed - {"PYTHONPATH"} == {
                *("SLURM_JOB_ID", "SBATCH_PARTITION", "SUBMITIT_EXECUTOR", "RANK", "MASTER_PORT")
            }
            if error:
                raise error
    except KeyError:
        pass
    assert dict(os.environ) == before


def test_jobs_find_modules_in_the_same_folders(tmp_path, monkeypatch):
    (tmp_path / "plug_in_of_mine.py").write_text("print('found')")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    beside = f"{sys.prefix}-of-mine"  # not the Python's own folder, though its name begins like that
    monkeypatch.setattr(sys, "path", ["", ".", beside, *sys.path])
    with environment_of_jobs():
        folders = os.environ["PYTHONPATH"].split(os.pathsep)
        assert folders[0] == str(ROOT)
        assert len(set(folders)) == len(folders)
        assert [folder for folder in folders if folder.startswith(sys.prefix)] == [beside]
        assert all(map(os.path.isabs, folders))
        command = [sys.executable, "-c", "import plug_in_of_mine"]
        said = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True)
    assert said.stdout == "found\n"


def test_the_record_and_the_words_about_it(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("a = 1\n")
    (tmp_path / JOBS).mkdir()
    certify = task(tmp_path, "certify", "13_0", "13_1", after=("train", "rs"))
    report = task(tmp_path, "report", "14", after=tuple("abcdef"))
    tasks = [task(tmp_path, "train", "12"), certify, report]
    made = record("slurm", replace(work(tmp_path), sources=(source,)), tasks)
    assert Submission.read(tmp_path) == made
    assert made.sources[str(source)] == file_hash(source)
    assert made.jobs == str(tmp_path / JOBS)
    assert words(work(tmp_path), made).splitlines() == [
        "job 12: train",
        "job 13_[0-1]: certify, after train, rs",
        "job 14: report, after a, b, c and 3 more",
        f"folder:   {tmp_path}",
        f"follow:   python tools/pipeline.py --status {tmp_path}",
        f"cancel:   python tools/pipeline.py --cancel {tmp_path}",
        "continue: when the jobs have ended, give the same command again",
    ]


class Says(Report):
    def work(self):
        if self.config:
            raise UserError(self.config)
        print("done")


@pytest.mark.parametrize(("text", "rank", "status"), [("", "0", 0), ("sigma is -1", "0", 2), ("sigma is -1", "1", 2)])
def test_a_job_does_its_work_and_ends_with_the_status_of_a_command(tmp_path, monkeypatch, capsys, text, rank, status):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("dmaelab.launch.cluster.run.setup_logging", lambda: print("logs"))
    run = pickle.loads(pickled(work(tmp_path, ("report", Says(text)))))
    assert isinstance(run, Run)
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == status
    said = capsys.readouterr()
    assert said.err == (f"error: {text}\n" if text else "")
    assert said.out == "logs\n" * (rank == "0") + "done\n" * (status == 0)


def test_the_record_knows_the_files_that_a_config_imports(tmp_path):
    base, config = tmp_path / "base.py", tmp_path / "mine.py"
    base.write_text("train = dict(lr=0.1)\n")
    config.write_text("from .base import train\n")
    LazyConfig.load(config)
    made = record("slurm", work(tmp_path), [])
    assert {str(path): made.sources.get(str(path)) for path in (base, config)} == {
        str(path): file_hash(path) for path in (base, config)
    }
    base.unlink()
    assert str(base) not in record("slurm", work(tmp_path), []).sources  # it cannot be compared


def test_a_job_that_finds_no_gpu_does_not_compute_on_the_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = pickle.loads(pickled(work(tmp_path, ("report", Says("computed"))), gpus=2))
    with pytest.raises(SystemExit) as ended:
        run()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "computed" not in said.out
    assert said.err.startswith("error: the job has asked for 2 GPUs and torch can use none on ")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(SystemExit) as ended:
        run()
    assert "asked for" not in capsys.readouterr().err
