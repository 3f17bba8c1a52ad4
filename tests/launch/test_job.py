"""A job can be sent anywhere, runs there on its own, and ends with the right exit status."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dmaelab.config import open_config
from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.training import SECTIONS
from dmaelab.launch import job as jobs
from dmaelab.launch.job import CertifyJob, EvaluateJob, Job, TableJob, TrainJob
from dmaelab.launch.report import ReportJob
from dmaelab.utils.errors import ConfigError, MachineError, Preempted, UserError

ROOT = Path(__file__).parents[2]
RUN_PICKLE = "import pickle, sys; pickle.load(sys.stdin.buffer)()"

# What a module of the user's own may do when it is imported.
RECORD = "open('imported.txt', 'w').close()"
STOP = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)"


@dataclass(frozen=True)
class Raises(Job):
    """A job that ends with an error."""

    error: BaseException | None = None

    def work(self):
        if self.error is not None:
            raise self.error


@pytest.fixture
def _own_process(monkeypatch):
    """Undo what is set for a process that was started for a job."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "path", [*sys.path])


def in_fresh_process(job, folder):
    """Run a pickled job in a process that knows nothing else."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", RUN_PICKLE], input=pickle.dumps(job), capture_output=True, cwd=folder, env=environment,
        timeout=300, check=False,
    )  # fmt: skip


def test_a_job_is_plain_data_that_survives_pickling():
    cfg = open_config("digits/pretrain", ["train.max_iter=3"], SECTIONS)
    for job in (
        TrainJob.of(cfg, resume=True),
        EvaluateJob.of(cfg, weights="best"),
        CertifyJob.of(cfg, shard=(1, 3)),
        TableJob.of(cfg, radii=(0.0, 0.5)),
        ReportJob.of(cfg, debug=True),
    ):
        again = pickle.loads(pickle.dumps(job))
        assert again == job
        assert again.load_config() == cfg
        assert {type(value) for value in vars(job).values()} <= {str, bool, float, tuple}


def test_an_evaluation_needs_a_run_and_its_weights(tmp_path):
    cfg = open_config("digits/pretrain", [f"train.out_dir={tmp_path / 'run'}", "train.device=cpu"], SECTIONS)
    best, final, own = (EvaluateJob.of(cfg, weights=name) for name in ("best", "final", str(tmp_path / "own.pth")))
    (tmp_path / "own.pth").touch()
    with pytest.raises(UserError, match=f"^{tmp_path / 'run'} has no weights 'best' to evaluate$"):
        best.restartable()
    with pytest.raises(UserError, match=f"^{tmp_path / 'run'} has no weights '{tmp_path / 'own.pth'}' to evaluate$"):
        own.restartable()
    run = RunDirectory(tmp_path / "run")
    run.freeze(resolve(cfg, torch.device("cpu")), resume=False, steps=1, from_step=0)
    assert own.restartable() == own
    with pytest.raises(UserError, match="has no weights 'best' to evaluate"):
        best.restartable()
    with pytest.raises(UserError, match="the training has not finished"):
        final.restartable()
    (tmp_path / "run/model_final.pth").touch()
    assert final.restartable() == final


def test_the_parts_of_a_certification_are_its_images():
    images = list(range(23))
    for first, step in ((0, 1), (1, 2)):
        mine = images[first::step]
        parts = [CertifyJob("", shard=(first, step)).part(number, 3) for number in range(3)]
        found = [images[part.shard[0] :: part.shard[1]] for part in parts]
        assert found == [mine[number::3] for number in range(3)]
        assert not any(part.progress for part in parts)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("sigma is -1: give a number"), 2, "error: sigma is -1: give a number\n"),
        (MachineError("the disk is full"), 71, "error: the disk is full\n"),
        (Preempted("come back"), 75, "come back\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
@pytest.mark.usefixtures("_own_process")
def test_a_process_of_its_own_ends_with_one_line_and_a_status(capsys, error, status, line):
    with pytest.raises(SystemExit) as end:
        Raises("", error)()
    assert end.value.code == status
    assert capsys.readouterr().err == line


@pytest.mark.usefixtures("_own_process")
def test_a_job_that_succeeds_returns():
    Raises("")()


def test_in_a_process_with_other_things_to_do_errors_are_raised():
    for error in (ConfigError("sigma is -1"), Preempted("come back")):
        with pytest.raises(type(error)):
            Raises("", error).run()


def test_ctrl_c_ends_a_certification_with_what_to_do(monkeypatch):
    monkeypatch.setattr(jobs, "Certification", lambda cfg: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="interrupted; finished images are in the log: continue with the same"):
        CertifyJob("{}").run()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP])
def test_a_signal_ends_a_certification_with_what_to_do(monkeypatch, number):
    monkeypatch.setattr(jobs, "Certification", lambda cfg: os.kill(os.getpid(), number))
    with pytest.raises(Preempted, match="finished images are in the log: continue with the same command"):
        CertifyJob("{}").run()


@pytest.mark.slow
def test_a_fresh_process_loads_the_plug_ins_and_trains(tmp_path):
    (tmp_path / "my_project.py").write_text(RECORD)
    small = ["train.max_iter=1", "train.batch_size=32", "train.device=cpu", "train.eval_images=20"]
    cfg = open_config("digits/pretrain", [*small, f"train.out_dir={tmp_path / 'run'}"], SECTIONS)
    cfg.plugins = ["my_project"]
    result = in_fresh_process(TrainJob.of(cfg), tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "imported.txt").exists()
    assert (tmp_path / "run/model_final.pth").exists()
    again = in_fresh_process(TrainJob.of(cfg), tmp_path)
    assert again.returncode == 2
    assert f"error: {tmp_path / 'run'} already holds a run: continue it with --resume" in again.stderr.decode()


@pytest.mark.slow
def test_a_fresh_process_that_is_stopped_says_so(tmp_path):
    (tmp_path / "my_project.py").write_text(STOP)
    result = in_fresh_process(CertifyJob("plugins: [my_project]"), tmp_path)
    assert result.stderr.decode() == CertifyJob.STOPPED + "\n"
    assert result.returncode == 75


def test_initial_weights_that_are_missing_are_known_before_a_job_waits(tmp_path):
    """Unless an earlier stage of the pipeline makes them, or the run has begun and no longer needs them."""

    def job(**options):
        cfg = open_config("digits/finetune_rs", [f"train.out_dir={tmp_path / 'run'}", f"train.init_from={tmp_path}/no"])
        return TrainJob.of(cfg, **options)

    with pytest.raises(
        UserError, match=rf"^train\.init_from is '{tmp_path}/no', and there is no such run directory or"
    ):
        job().restartable()
    job(stage="rs").restartable()
    (tmp_path / "no").touch()
    job().restartable()


@pytest.mark.parametrize(
    ("config", "device"),
    [
        ("train: {device: cuda}", "cuda"),
        ("train: {max_iter: 1}", "auto"),
        ("certify: {device: cpu}", "cpu"),
        ("certify: {name: a}", "auto"),
        ("pipeline: {out_dir: a}", "cpu"),
    ],
)
def test_the_device_of_a_job(config, device):
    assert CertifyJob(config).device == device
