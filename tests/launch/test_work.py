"""What a launcher gets: the tasks of a command, and those that a pipeline plans."""

from pathlib import Path

import pytest
import torch

from dmaelab.config import config_path
from dmaelab.engine.resolve import resolve
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.launch.job import CertifyJob, Job, TrainJob
from dmaelab.launch.report import ReportJob
from dmaelab.launch.work import Task, Work

CPU = torch.device("cpu")


class Nothing(Job):
    """A job without anything to do."""

    def work(self):
        pass


def after(work):
    return {task.name: task.after for task in work.tasks}


def slurm(work):
    return {task.name: dict(task.slurm) for task in work.tasks}


def finish(pipeline, number):
    """Make the folder of a finished run for the training stage of that number."""
    cfg = pipeline.plan.training_config(pipeline.plan.stages[number])
    RunDirectory(cfg.train.out_dir).freeze(resolve(cfg, CPU), resume=False, steps=1, from_step=0)
    Path(cfg.train.out_dir, "model_final.pth").touch()


def test_the_work_of_a_single_job(tmp_path):
    job = Nothing("slurm: {nodes: 2, partition: '${other}'}\nother: debug")
    work = Work.of(job, tmp_path, "train", (Path("a.py"),))
    (task,) = work.tasks
    assert (task.name, task.job, task.folder, task.after, task.series) == ("train", job, tmp_path, (), "")
    assert task.slurm == {"nodes": 2, "partition": "debug"}
    assert (work.folder, work.sources) == (tmp_path, (Path("a.py"),))
    assert Work.of(Nothing(""), tmp_path).tasks[0].slurm == {}


def test_the_jobs_come_in_order_each_with_its_announcement(log_messages, tmp_path):
    tasks = [
        Task(str(number), Nothing(str(number)), tmp_path, announcement=f"task {number}"[: 9 * number])
        for number in (0, 1)
    ]
    for job in Work(tmp_path, tuple(tasks)).in_order():
        log_messages.append(job.config)
    assert log_messages == ["0", "task 1", "1"]


def test_a_task_for_each_stage_and_the_report_last(chain, tmp_path):
    work = chain(tmp_path).work()
    assert after(work) == {
        "pretrain": (),
        "rs": ("pretrain",),
        "certify_rs": ("rs",),
        "report": ("pretrain", "rs", "certify_rs"),
    }
    assert [type(task.job) for task in work.tasks] == [TrainJob, TrainJob, CertifyJob, ReportJob]
    folders = [tmp_path / "pretrain", tmp_path / "rs", tmp_path / "rs/certify/certify_rs", tmp_path]
    assert [task.folder for task in work.tasks] == folders
    lines = ["stage 1 of 3: pretrain", "stage 2 of 3: rs", "stage 3 of 3: certify_rs", ""]
    assert [task.announcement for task in work.tasks] == lines
    assert work.folder == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_copies_for_seeds_are_a_series(chain, tmp_path):
    work = chain(tmp_path, "pipeline.seeds=3", "pipeline.report=tables", "+stages.0.once=True").work()
    names = ["pretrain", "rs", "certify_rs", "rs_seed1", "certify_rs_seed1", "rs_seed2", "certify_rs_seed2"]
    assert list(after(work)) == [*names, "report"]
    assert [task.series for task in work.tasks] == ["pretrain", *["rs", "certify_rs"] * 3, ""]
    for seed in ("", "_seed1", "_seed2"):
        assert after(work)[f"rs{seed}"] == ("pretrain",)
        assert after(work)[f"certify_rs{seed}"] == (f"rs{seed}",)
    assert after(work)["report"] == tuple(names)
    assert work.tasks[-1].folder == tmp_path / "tables"
    assert work.tasks[3].job.section("train")["seed"] == 1


def test_each_seed_has_a_pre_training_of_its_own(chain, tmp_path):
    work = chain(tmp_path, "pipeline.seeds=2").work()
    assert after(work)["rs_seed1"] == ("pretrain_seed1",)
    assert [task.series for task in work.tasks][:3] == [task.series for task in work.tasks][3:6]


def test_a_stage_wins_over_the_section_slurm_of_its_pipeline(chain, tmp_path):
    pipeline = chain(tmp_path, "slurm.partition=long", "slurm.nodes=4", "slurm.cpus_per_task=3")
    pipeline.plan.stages[1].overrides.append("slurm.nodes=2")
    pipeline.plan.stages[2].overrides.extend(["slurm.nodes=1", "slurm.gpus_per_node=0"])
    common = {"partition": "long", "cpus_per_task": 3}
    assert slurm(pipeline.work()) == {
        "pretrain": {**common, "nodes": 4},
        "rs": {**common, "nodes": 2},
        "certify_rs": {**common, "nodes": 1, "gpus_per_node": 0},
        "report": {**common, "nodes": 4},
    }
    assert set(map(str, slurm(chain(tmp_path).work()).values())) == {"{}"}


def test_a_finished_training_is_no_task(chain, tmp_path, log_messages):
    pipeline = chain(tmp_path)
    finish(pipeline, 0)
    work = pipeline.work()
    assert "stage 1 of 3: pretrain: finished before" in log_messages
    assert after(work) == {"rs": (), "certify_rs": ("rs",), "report": ("rs", "certify_rs")}
    assert work.tasks[0].announcement == "stage 2 of 3: rs"


def test_what_a_finished_run_asked_of_slurm_does_not_matter(chain, tmp_path):
    before = chain(tmp_path)
    before.plan.stages[0].overrides.append("slurm.nodes=2")
    finish(before, 0)
    again = chain(tmp_path, "slurm.partition=long")
    again.plan.stages[0].overrides.append("slurm.nodes=8")
    assert "pretrain" not in after(again.work())


def test_a_training_in_whose_place_weights_stand_is_no_task(chain, tmp_path, log_messages):
    given = tmp_path / "elsewhere"
    given.mkdir()
    pipeline = chain(tmp_path, f"pipeline.weights={{'pretrain': '{given}'}}")
    work = pipeline.work()
    assert f"stage 1 of 3: pretrain: not run, because it is replaced by {given}" in log_messages
    assert after(work)["rs"] == ()


@pytest.mark.parametrize("given", ["name", "file"])
def test_the_sources_are_the_files_of_all_configs(chain, tmp_path, given):
    source = "pipelines/digits" if given == "name" else str(tmp_path / "mine.py")
    configs = ["digits/pretrain", "digits/finetune_rs", "certify/default"]
    expected = [config_path(name) for name in (source, *configs)]
    assert list(chain(tmp_path, source=source).work().sources) == expected
    assert list(chain(tmp_path).work().sources) == expected[1:]
    assert all(path.is_file() for path in expected[1:])
