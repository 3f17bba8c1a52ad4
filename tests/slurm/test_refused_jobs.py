"""What SLURM refuses, in its own words and one line, before anything is left behind."""

import subprocess
import sys
from pathlib import Path

import pytest
import works

from dmaelab.launch.cluster.status import status_text, statuses
from dmaelab.utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["slurm.partition=nope"], r"invalid partition specified: nope; Invalid partition name specified \(sinfo"),
        (["slurm.constraint=h100"], r"Invalid feature specification \(sinfo shows"),
        (["slurm.gpus_per_node=9"], r"Requested node configuration is not available \(sinfo shows"),
        (["slurm.nodes=3", "slurm.exclude=None"], r"Node count specification invalid \(sinfo shows"),
        (["slurm.mem=900GB"], r"Memory specification can not be satisfied; Requested node configuration"),
        (["slurm.extra={'frobnicate': 1}"], r"unrecognized option '--frobnicate=1' \(sinfo shows"),
    ],
)
def test_the_words_of_slurm_are_one_line_and_nothing_is_left(site, tmp_path, capfd, overrides, words):
    with pytest.raises(UserError, match=f"^SLURM refuses the job train: {words}") as error:
        works.train(tmp_path / "a/run", *overrides)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_refused_stage_cancels_the_earlier_ones(site, submitted, tmp_path):
    config = tmp_path / "chain.py"
    text = (submitted / "chain.py").read_text()
    config.write_text(text.replace("overrides=_classifier", "overrides=[*_classifier, 'slurm.partition=nope']"))
    before = set(works.run("squeue", "-h", "-t", "all", "-o", "%i").split())
    with pytest.raises(UserError, match="SLURM refuses the job rs: invalid partition"):
        works.pipeline(config, f"pipeline.out_dir={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()
    new = set(works.run("squeue", "-h", "-t", "all", "-o", "%i").split()) - before
    assert len(new) == 2
    works.until(lambda: not new & set(works.run("squeue", "-h", "-o", "%i").split()))


def test_an_account_is_not_checked_and_the_command_says_so(site, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, ROOT / "tools/train_net.py", "--config-file", "digits/pretrain", "--launcher", "slurm"]
    overrides = [*works.TINY, "slurm.account=nobody", "slurm.qos=gold", "train.max_iter=1", f"train.out_dir={run}"]
    said = subprocess.run([*command, *overrides], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[-1] == "not checked: slurm.account and slurm.qos, which SLURM may accept unseen"
    works.run("scancel", works.job_id(run))


def test_a_folder_that_the_node_does_not_see(site, tmp_path):
    folder = works.train(tmp_path / "run", "slurm.extra={'begin': 'now+4'}", steps=4)
    (folder / "jobs/logs" / f"{works.job_id(folder)}_0_log.out").mkdir()
    (status,) = works.wait(folder)
    assert status.complaint.startswith("failed (exit status 0:53), and there is no log ")
    assert status.complaint.endswith("does the node see this folder? It must be on a disk that all share")
    assert status.complaint in status_text(folder)


def test_other_settings_are_refused_before_a_job_is_submitted(submitted):
    folder = submitted / "signalled"
    works.wait(folder)
    with pytest.raises(UserError, match=r"was begun with other settings \(train.seed is 0 there, 7 now\)"):
        works.train(folder, "train.seed=7")
    (status,) = statuses(folder)[1]
    assert status.succeeded
