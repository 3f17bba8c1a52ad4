"""What jobs of SLURM compute is what the same commands compute without it."""

import json
import subprocess
import sys
from pathlib import Path

import works

from dmaelab.engine import open_certification
from dmaelab.launch.cluster.status import status_text

ROOT = Path(__file__).parents[2]


def records(run):
    """Return the log records of a training without what depends on its speed."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line.keys() - {"images_per_second", "data_wait"}} for line in lines]


def test_two_nodes_with_two_processes_each_are_like_torchrun(submitted, tmp_path):
    """The losses of every step and the weights are equal bit for bit."""
    alone = [*works.TINY, "train.micro_batch=8", "train.max_iter=20", f"train.out_dir={tmp_path / 'alone'}"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=4", ROOT / "tools/train_net.py"]
    subprocess.run([*command, "--config-file", "digits/pretrain", *alone], check=True, capture_output=True)
    (status,) = works.wait(submitted / "together")
    assert status.succeeded, works.show(submitted / "together")
    assert records(submitted / "together") == records(tmp_path / "alone")
    assert works.same_weights(submitted / "together", tmp_path / "alone")
    starts = json.loads((submitted / "together/run.json").read_text())["starts"]
    assert [start["processes"] for start in starts] == [4]
    assert "slurm:" not in (submitted / "together/config.yaml").read_text()


def test_an_array_of_parts_and_a_table_are_the_undivided_certification(submitted, classifier_run):
    folder = classifier_run / "certify/parts"
    certify, table = works.wait(folder)
    assert certify.succeeded, works.show(folder)
    assert table.succeeded, works.show(folder)
    assert len(certify.task.parts) == 4
    assert len({part.id.partition("_")[0] for part in certify.task.parts}) == 1
    overrides = ["certify.name=whole", "certifier.n=1000", 'certify.subset={"count": 12}']
    open_certification(classifier_run, [*works.QUICK, *overrides]).run(progress=False)
    assert works.rows(folder) == works.rows(classifier_run / "certify/whole")
    printed = Path(table.task.parts[0].log).read_text()
    assert "rs/parts" in printed
    assert "12" in printed
    assert "image 12 of 12" in status_text(folder)


def test_a_pipeline_is_a_chain_of_jobs_and_seeds_are_an_array(submitted):
    folder = submitted / "chain"
    found = {status.task.name: status for status in works.wait(folder)}
    assert all(status.succeeded for status in found.values()), works.show(folder)
    names = ["pretrain", "continue", "rs", "certify_rs", "rs_seed1", "certify_rs_seed1", "report"]
    assert list(found) == names
    seeds = [found[name].task.parts[0].id for name in ("rs", "rs_seed1")]
    assert [job.partition("_")[2] for job in seeds] == ["0", "1"]
    assert seeds[0].partition("_")[0] == seeds[1].partition("_")[0]
    assert found["certify_rs_seed1"].task.after == ("rs_seed1",)
    assert "| certify_rs " in (folder / "report/table.md").read_text()
    assert not works.same_weights(folder / "rs", folder / "rs_seed1")
    assert "A chain" in Path(found["report"].task.parts[0].log).read_text()


def test_a_linear_probe(submitted):
    (status,) = works.wait(submitted / "probe")
    assert status.succeeded, works.show(submitted / "probe")
    assert status.progress == "step 2 of 2"


def test_another_evaluation(submitted, classifier_run):
    (status,) = works.wait(classifier_run)
    assert status.succeeded, works.show(classifier_run)
    assert "accuracy" in Path(status.task.parts[0].log).read_text()


def test_a_command_inside_an_allocation_is_no_job(site, tmp_path):
    """The variables of SLURM describe the allocation there, not the process. Jobs can be submitted from it, too."""
    command = [sys.executable, ROOT / "tools/train_net.py", "--config-file", "digits/pretrain", *works.TINY]
    for launcher in ("none", "slurm"):
        run = tmp_path / launcher
        options = ["--launcher", launcher, "train.max_iter=2", f"train.out_dir={run}"]
        works.run("salloc", "--nodes=2", "--ntasks=4", *map(str, command), *options)
        if launcher == "slurm":
            (status,) = works.wait(run)
            assert status.succeeded, works.show(run)
        (start,) = json.loads((run / "run.json").read_text())["starts"]
        assert start["processes"] == 1


def test_the_commands_of_the_site_run_before_python(submitted):
    status, *_ = works.wait(submitted / "together")
    log = Path(status.task.parts[0].log).read_text()
    assert -1 < log.find("the commands of the site\n") < log.index("Starting with JobEnvironment")


def test_the_printed_script_is_the_one_that_is_submitted(submitted):
    """The method of submitit that makes the text is private, so its name and arguments may change."""
    from dmaelab.launch.cluster.slurm import Slurm
    from dmaelab.launch.job import TrainJob
    from dmaelab.launch.work import Work

    folder = submitted / "signalled"
    job = TrainJob.of(works.train_config(folder, f"train.max_iter={works.STEPS}", *works.SLOW))
    _, _, preview = Slurm().preview(Work.of(job, folder, "train")).partition("\n")
    number = works.job_id(folder)
    assert preview == (folder / f"jobs/logs/{number}_submission.sh").read_text()


def test_submitting_from_the_command_line_returns_at_once(site, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, ROOT / "tools/train_net.py", "--config-file", "digits/pretrain", "--launcher", "slurm"]
    overrides = [*works.TINY, "train.max_iter=4", f"train.out_dir={run}"]
    said = subprocess.run([*command, *overrides], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[0] == f"job {works.job_id(run)}: train"
    assert said[1:] == [
        f"folder:   {run}",
        f"follow:   python tools/pipeline.py --status {run}",
        f"cancel:   python tools/pipeline.py --cancel {run}",
        "continue: when the jobs have ended, give the same command again, with --resume",
        f"site:     {site} ($DMAELAB_SLURM)",
    ]
    (status,) = works.wait(run)
    assert status.succeeded, works.show(run)
    look = [sys.executable, ROOT / "tools/pipeline.py", "--status", run]
    assert "step 4 of 4" in subprocess.run(look, check=True, capture_output=True, text=True).stdout
