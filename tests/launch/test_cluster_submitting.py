"""What both launchers do around a submission: folders that come and go, the environment of the jobs, and the words."""

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fake_cluster import Report, state, submission, task, work

from dmaelab.launch.cluster.records import JOBS, Submission
from dmaelab.launch.cluster.run import Run
from dmaelab.launch.cluster.submitting import check_alone, environment_of_jobs, new_records, pickled, record, words
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
    assert list(tree(tmp_path / "runs")) == [tmp_path / "runs/a", jobs, jobs / "state"]


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


def test_after_a_failure_the_earlier_submission_is_as_before(tmp_path):
    submission(tmp_path, task(tmp_path, "train", "11"))
    state(tmp_path, "11", "finished")
    state(tmp_path, "11", "finished", rank=1)
    before = tree(tmp_path)
    fail(tmp_path)
    assert tree(tmp_path) == before


def test_a_new_submission_forgets_the_states_of_the_earlier_one(tmp_path):
    submission(tmp_path, task(tmp_path, "train", "11"))
    state(tmp_path, "11", "failed")
    (tmp_path / JOBS / "state.earlier").mkdir()  # of a command that was killed
    (tmp_path / JOBS / "state.earlier/train.0.0.json").touch()
    with new_records(tmp_path) as jobs:
        (jobs / "state/train.1.0.json").touch()  # by a job that starts at once
    assert [path.name for path in (jobs / "state").iterdir()] == ["train.1.0.json"]
    assert sorted(path.name for path in jobs.iterdir()) == ["state", "submission.json"]


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
    made = record("slurm", replace(work(tmp_path), sources=(source,)), [task(tmp_path, "train", "12"), certify])
    assert Submission.read(tmp_path) == made
    assert made.sources == {str(source): file_hash(source)}
    assert made.jobs == str(tmp_path / JOBS)
    assert words(work(tmp_path), made).splitlines() == [
        "job 12: train",
        "job 13_0 ... 13_1: certify, after train, rs",
        f"folder:   {tmp_path}",
        f"follow:   python tools/pipeline.py --status {tmp_path}",
        f"cancel:   python tools/pipeline.py --cancel {tmp_path}",
        "continue: when the jobs have ended, give the same command again (a training: with --resume)",
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
