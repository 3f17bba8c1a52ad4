"""The background of this machine: the same works as on SLURM, as far as one machine can be like a cluster."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import works

from dmaelab.launch.cluster.cancel import cancel
from dmaelab.launch.cluster.records import Submission, read_state
from dmaelab.launch.cluster.status import status_text
from dmaelab.utils.errors import UserError

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

CHAIN = """
_small = ["train.precision=fp32", "train.device=cpu", "train.eval_images=40", "train.max_iter=20", "train.log_period=5"]
_mae = ["model.encoder.width=16", "model.encoder.depth=1", "model.decoder.width=16", *_small]
_classifier = ["model.classifier.backbone.width=16", "model.classifier.backbone.depth=1", *_small]
_quick = ["dataset.split=test", "certifier.n=200", "certifier.n0=20", "certify.batch_size=100", "certify.device=cpu"]
pipeline = dict(out_dir="out", title="A chain", radii=[0.0, 0.25])
stages = [
    dict(name="pretrain", config="digits/pretrain", overrides=_mae),
    dict(name="rs", config="digits/finetune_rs", overrides=[*_classifier, "train.init_from=LATER"]),
    dict(name="certify_rs", certify="rs", overrides=[*_quick, 'certify.subset={"count": 8}']),
]
"""


@pytest.fixture(autouse=True)
def _plug_ins(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the run directory of the training that nobody interrupts."""
    return works.undisturbed(tmp_path_factory.mktemp("undisturbed"), steps=60)


def train(folder, **options):
    return works.train(folder, steps=60, launcher="local", **options)


def task_pid(folder):
    """Return the number of the process that watches the work."""
    return works.task_pid(folder, "local")


def test_a_signalled_training_starts_again_and_ends_with_the_same_bits(tmp_path, undisturbed):
    folder = train(tmp_path / "run")
    works.until(lambda: works.in_its_steps(folder))
    os.kill(task_pid(folder), signal.SIGUSR2)
    (status,) = works.wait(folder)
    assert status.succeeded, works.show(folder)
    assert works.starts(folder) == 2
    assert works.same_weights(folder, undisturbed)


def test_cancelled_work_saves_its_state_and_the_command_continues(tmp_path, undisturbed):
    folder = train(tmp_path / "run")
    works.until(lambda: works.in_its_steps(folder))
    with pytest.raises(UserError, match=r"job \d+ of an earlier submission is RUNNING: wait for it with"):
        train(folder)
    assert "to stop; to continue, give the same command again" in cancel(folder)
    (status,) = works.wait(folder)
    assert status.state == "CANCELLED"
    assert works.starts(folder) == 1
    (saved,) = [path.name for path in (folder / "checkpoints").glob("step_*.pth")]
    assert 10 <= int(saved[5:12]) < 60
    assert cancel(folder) == f"{folder}: no job waits or runs"
    train(folder)
    (status,) = works.wait(folder)
    assert status.succeeded, works.show(folder)
    assert works.same_weights(folder, undisturbed)


def test_a_killed_process_is_named_and_the_command_continues(tmp_path, undisturbed):
    folder = train(tmp_path / "run")
    works.until(lambda: works.in_its_steps(folder))
    os.kill(works.work_pid(folder, "local"), signal.SIGKILL)
    (status,) = works.wait(folder)
    assert status.complaint.startswith("killed by SIGKILL, perhaps because the memory was full (process 0 on ")
    train(folder)
    (status,) = works.wait(folder)
    assert status.succeeded, works.show(folder)
    assert works.same_weights(folder, undisturbed)


def test_work_ends_with_the_process_that_watches_it(tmp_path):
    folder = train(tmp_path / "run")
    works.until(lambda: works.in_its_steps(folder))
    work = works.work_pid(folder, "local")
    os.kill(task_pid(folder), signal.SIGKILL)
    works.until(lambda: not Path(f"/proc/{work}").exists() or "State:\tZ" in Path(f"/proc/{work}/status").read_text())
    (status,) = works.wait(folder)
    assert status.state == "ENDED"
    assert "its process is gone" in status.complaint


def test_it_outlives_its_terminal_and_sees_the_same_gpus(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, ROOT / "tools/train_net.py", "--config-file", "digits/pretrain", "--launcher", "local"]
    overrides = [*works.TINY, *works.SLOW, "train.max_iter=60", f"train.out_dir={run}"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "5", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([*command, *overrides], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[0] == f"job {works.job_id(run)}: train"
    works.until(lambda: works.in_its_steps(run))
    said = read_state(run / "jobs/state/local.0.0.json")
    assert os.getsid(said.pid) != os.getsid(0)
    work = Path(f"/proc/{works.work_pid(run, 'local')}/environ").read_bytes().split(b"\0")
    assert b"CUDA_VISIBLE_DEVICES=5" in work
    assert "step" in status_text(run)
    cancel(run)
    works.wait(run)


def test_a_pipeline_is_one_job_and_stops_at_the_stage_that_fails(tmp_path):
    config, out = tmp_path / "chain.py", tmp_path / "out"
    config.write_text(CHAIN.replace("LATER", str(tmp_path / "later.pth")))
    works.pipeline(config, f"pipeline.out_dir={out}", launcher="local")
    found = {status.task.name: status for status in works.wait(out)}
    assert found["pretrain"].succeeded, works.show(out)
    assert "later.pth" in found["rs"].complaint
    assert found["certify_rs"].complaint == "cancelled, because rs did not succeed"
    assert {part.id for status in found.values() for part in status.task.parts} == {works.job_id(out)}
    shutil.copy(out / "pretrain/model_final.pth", tmp_path / "later.pth")
    works.pipeline(config, f"pipeline.out_dir={out}", launcher="local")
    again = works.wait(out)
    assert [status.task.name for status in again] == ["rs", "certify_rs", "report"]
    assert all(status.succeeded for status in again), works.show(out)
    assert "certify_rs" in (out / "table.md").read_text()


def test_a_certification_in_two_processes_is_the_undivided_one(classifier_run):
    from dmaelab.engine import open_certification

    options = ["certifier.n=500", 'certify.subset={"count": 8}']
    folder = works.certify(classifier_run, "background", 2, *options, launcher="local")
    certify, table = works.wait(folder)
    assert certify.succeeded, works.show(folder)
    assert table.succeeded
    assert len(list(folder.glob("shard-*-of-002.tsv"))) == 2
    open_certification(classifier_run, [*works.QUICK, "certify.name=front", *options]).run(progress=False)
    assert works.rows(folder) == works.rows(classifier_run / "certify/front")
    assert "rs/background" in Path(table.task.parts[0].log).read_text()


def test_an_edited_config_changes_nothing_and_the_status_says_so(tmp_path):
    config, run = tmp_path / "mine.py", tmp_path / "run"
    text = "from dmaelab.config import get_config\nglobals().update(get_config('digits/pretrain'))\n"
    config.write_text(text)
    command = [sys.executable, ROOT / "tools/train_net.py", "--config-file", config, "--launcher", "local"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    overrides = [*works.TINY, *works.SLOW, "train.max_iter=40", f"train.out_dir={run}"]
    subprocess.run([*command, *overrides], check=True, capture_output=True, env=environment)
    config.write_text(f"{text}train.seed = 7\n")
    assert f"note: {config} has changed since the submission; the jobs run what was submitted" in status_text(run)
    (status,) = works.wait(run)
    assert status.succeeded, works.show(run)
    assert "seed: 0" in (run / "config.yaml").read_text()
    assert str(config) in Submission.read(run).sources
    assert json.loads((run / "run.json").read_text())["starts"][0]["steps"] == 40
