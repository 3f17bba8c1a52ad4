"""Who starts a job: the choice by the number of processes, and launchers that this package does not know."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_cluster import submission, task

from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.launch.job import CertifyJob, Job, TrainJob
from dmaelab.launch.launcher import ThisProcess, choose_launcher, ready, start
from dmaelab.launch.processes import Processes
from dmaelab.launch.report import ReportJob
from dmaelab.launch.work import Work
from dmaelab.records.folders import read_folders
from dmaelab.utils.cli import PREEMPTED
from dmaelab.utils.errors import ConfigError, Preempted, UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("processes", "gpus", "count"), [(1, 4, 1), (3, 0, 3), ("auto", 0, 1), ("auto", 1, 1), ("auto", 4, 4)]
)
def test_the_number_of_processes_chooses(monkeypatch, processes, gpus, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    launcher = choose_launcher(processes)
    if count == 1:
        assert isinstance(launcher, ThisProcess)
    else:
        assert isinstance(launcher, Processes)
        assert launcher.count == count


def test_fewer_than_one_process_is_refused():
    with pytest.raises(UserError, match="the number of processes is 0: give at least 1, or 'auto'"):
        choose_launcher(0)


@pytest.mark.parametrize(
    ("name", "words"), [("none", "without them a command always"), (__name__ + ".Mine", "not for")]
)
def test_only_launchers_that_would_return_at_once_can_wait(name, words):
    choose_launcher(1, name)
    with pytest.raises(UserError, match="--wait is for --launcher local and slurm") as error:
        choose_launcher(1, name, wait=True)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_in_a_dry_run_a_launcher_says_what_it_would_start(tmp_path, capsys):
    work = Work.of(Fails(""), tmp_path)
    start(ThisProcess(), work, dry_run=True)  # it has nothing to say
    assert capsys.readouterr().out == ""
    start(Mine(1), work, dry_run=True)
    assert capsys.readouterr().out == f"work in {tmp_path}\n"
    start(Mine(1), work)
    assert capsys.readouterr().out == "started\n"


class Mine:
    """A launcher that returns at once."""

    def __init__(self, processes):
        self.processes = processes

    def launch(self, work):
        return "started"

    def preview(self, work):
        return f"{work.tasks[0].name} in {work.folder}"


class NotReady(Mine):
    """A launcher that cannot start anything."""

    def ready(self, folder):
        raise UserError(f"not ready for {folder}")


def test_before_something_is_deleted_a_launcher_must_be_ready(tmp_path, monkeypatch):
    ready(Mine(1), tmp_path)  # it need not say so
    with pytest.raises(UserError, match=f"^not ready for {tmp_path}$"):
        ready(NotReady(1), tmp_path)
    monkeypatch.setattr("dmaelab.launch.cluster.scheduler._is_of", lambda folder, pid: True)
    submission(tmp_path, task(tmp_path, "train", "4194399"), launcher="local")
    with pytest.raises(UserError, match="job 4194399 of an earlier submission is PENDING"):
        ready(Mine(1), tmp_path)


def test_a_launcher_that_is_not_ready_leaves_the_results_in_place(chain, tmp_path):
    pipeline = chain(tmp_path, launcher=NotReady(1))
    for stage in pipeline.plan.stages[:2]:
        cfg = pipeline.plan.training_config(stage)
        RunDirectory(cfg.train.out_dir).freeze(resolve(cfg, torch.device("cpu")), resume=False, steps=1, from_step=0)
    before = sorted(tmp_path.rglob("*"))
    assert len(before) > 4
    with pytest.raises(UserError, match=r"^not ready for "):
        pipeline.run(restart_at="pretrain")
    assert sorted(tmp_path.rglob("*")) == before


class Fails(Job):
    def work(self):
        raise ConfigError("sigma is -1")


def test_errors_of_a_job_in_this_process_pass_through(tmp_path):
    with pytest.raises(ConfigError, match="sigma is -1"):
        ThisProcess().launch(Work.of(Fails(""), tmp_path))


class Recorder:
    """A launcher that keeps copies of the jobs that it is given, and runs them as ``run`` says."""

    def __init__(self, run=Job.run):
        self.jobs, self.run = [], run

    def launch(self, work):
        for job in work.in_order():
            self.jobs.append(pickle.loads(pickle.dumps(job)))
            self.run(self.jobs[-1])


def fresh_process(job):
    """Do as a launcher of a cluster does: send the job to a process of its own, and make an error of its status."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)()"]
    status = subprocess.run(command, input=pickle.dumps(job), env=environment, timeout=300, check=False).returncode
    if status == PREEMPTED:
        raise Preempted("the task was stopped")
    if status != 0:
        raise UserError(f"the task failed with status {status}")


def kinds(launcher):
    return [type(job) for job in launcher.jobs]


def test_a_pipeline_gives_every_stage_to_any_launcher(chain, tmp_path):
    launcher = Recorder()
    pipeline = chain(tmp_path, launcher=launcher)
    pipeline.run()
    assert kinds(launcher) == [TrainJob, TrainJob, CertifyJob, ReportJob]
    assert all(job.resume for job in launcher.jobs[:2])
    assert len(read_folders([tmp_path / "rs/certify/certify_rs"]).rows) == 4
    again = Recorder()
    chain(tmp_path, launcher=again).run()
    assert kinds(again) == [CertifyJob, ReportJob]  # a finished training is not started again, and the log is complete


@pytest.mark.parametrize("error", [UserError("the task failed"), Preempted("the task was stopped")])
def test_an_error_of_a_launcher_ends_the_pipeline(chain, tmp_path, error):
    def stop(job):
        raise error

    launcher = Recorder(stop)
    with pytest.raises(type(error), match="the task"):
        chain(tmp_path, launcher=launcher).run()
    assert kinds(launcher) == [TrainJob]


@pytest.mark.slow
def test_a_pipeline_in_fresh_processes(chain, tmp_path):
    chain(tmp_path, launcher=Recorder(fresh_process)).run()
    assert len(read_folders([tmp_path / "rs/certify/certify_rs"]).rows) == 4
    broken = chain(tmp_path / "broken", launcher=Recorder(fresh_process))
    broken.plan.stages[0].overrides.append("train.init_from=/nowhere")
    with pytest.raises(UserError, match="the task failed with status 2"):
        broken.run()
