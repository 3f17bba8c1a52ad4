"""The command line of certification as a user types it: merging, verifying, shards."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dmaelab.engine import open_certification
from dmaelab.records.folders import read_folders

ROOT = Path(__file__).parents[2]
QUICK = [
    "certify.device=cpu", "certifier.name=sequential", "certifier.n=1000", "certifier.n0=50", "certify.batch_size=128",
    'certify.subset={"count": 12}',
]  # fmt: skip


@pytest.fixture
def run(classifier_run, tmp_path):
    return shutil.copytree(classifier_run, tmp_path / "run")


def call(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/certify.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def tool(*arguments, status=0):
    result = call(*arguments)
    assert result.returncode == status, result.stderr
    return result.stdout if status == 0 else result.stderr


def rows(*folders):
    """Return the merged rows without their time."""
    table = read_folders(folders)
    place = table.columns.index("time")
    return {index: cells[:place] + cells[place + 1 :] for index, cells in table.rows.items()}


def test_commands_about_processes_and_shards(run):
    quick = [run, *QUICK]
    assert "--processes is 'many': give a number, or 'auto'" in tool(*quick, "--processes", "many", status=2)
    assert "the number of processes is 0" in tool(*quick, "--processes", "0", status=2)
    assert "the config is fine" in tool(*quick, "--processes", "2", "--dry-run")
    assert "no images in this shard; log: " in tool(*quick, "--shard", "45/50")


def test_shards_of_two_machines_are_merged_and_verified(run, tmp_path):
    for part in (0, 1):
        out = ["certify.name=default", f"certify.out_dir={tmp_path / f'machine{part}'}"]
        open_certification(run, [*QUICK, *out]).run((part, 2), progress=False)
    parts = [tmp_path / f"machine{part}/certify/default" for part in (0, 1)]
    assert "6 of 12 images have no row" in tool("--merge", tmp_path / "half", parts[0], status=2)
    assert tool("--merge", tmp_path / "whole", *parts).strip() == f"{tmp_path / 'whole'}: 12 images"
    assert rows(tmp_path / "whole") == rows(*parts)
    assert "all 12 rows follow" in tool("--verify", tmp_path / "whole")
    shard = tmp_path / "whole/shard-000-of-001.tsv"
    header, *lines = shard.read_text().splitlines()
    place = header.split("\t").index("radius")
    cells = lines[0].split("\t")
    shard.write_text(
        "\n".join([header, "\t".join([*cells[:place], "9.000000", *cells[place + 1 :]]), *lines[1:]]) + "\n"
    )
    (tmp_path / "machine0/certify/default").rename(tmp_path / "half")  # one that is incomplete hides no other
    result = call("--verify", tmp_path)
    assert result.returncode == 1
    assert "half: 6 of 12 images have no row" in result.stderr
    assert f"{tmp_path / 'whole'}: 1 claims do not follow from their counts" in result.stdout
    assert "half: 6 of 12 images have no row" in tool("--verify", tmp_path / "half", status=2)
    (tmp_path / "half/header.json").write_text(
        (tmp_path / "half/header.json").read_text().replace('"alpha": 0.001', '"alpha": 0.1')
    )
    assert f"error: {tmp_path / 'half'}: identity_hash in header.json does not match identity" in tool(
        "--verify", tmp_path / "half", status=2
    )


def test_a_log_is_compared_with_data_and_sampled_again(run):
    data = ["certify.device=cpu", "dataset.split=test"]
    folder = open_certification(run, [*QUICK, *data]).run(progress=False)
    printed = tool("--verify", folder, "--data", "digits/finetune_rs", "dataset.split=test")
    assert "all 12 rows follow from their counts" in printed
    assert "the labels of all 12 rows are those of the data set" in printed
    assert "image 0 is another one in the data set" in tool("--verify", folder, "--data", run, status=2)
    resample = ["--verify", folder, "--resample", "4", "--run", run, *data]
    assert "(seed 11" in tool(*resample, "--seed", "11")
    shard = folder / "shard-000-of-001.tsv"
    first, *lines = [line.split("\t") for line in shard.read_text().splitlines()]
    row = lines[0]
    row[1] = next(label for label in "012" if label not in (row[1], row[2]))
    row[4] = "0"
    shard.write_text("".join("\t".join(line) + "\n" for line in [first, *lines]))
    done = call(*resample)
    assert done.returncode == 1, done.stderr
    assert f"image {row[0]}: label is {row[1]}, in the data set it is" in done.stdout


def test_a_certification_and_its_table_are_two_submissions(run):
    said = tool(run, "dataset.split=test", "certify.device=cpu", "--launcher", "slurm", "--processes", "3", "--dry-run")
    assert said.count("#!/bin/bash") == 2
    assert "#SBATCH --array=0-2%3\n" in said
    assert "afterok:<certify>" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "SOURCE is missing"),
        (["somewhere"], "there is no such run directory"),
        (["--merge", "whole"], "--merge needs a new folder"),
        (["--verify", "nowhere"], "nowhere is not a certification log"),
        (["--verify", "a", "--merge", "b"], "not allowed with argument"),
        (["run", "--verify", "a"], "take no SOURCE: leave out 'run'"),
        (["--verify", "a", "--dry-run"], "take no --launcher, --wait, --dry-run or --radii"),
        (["--verify", "a", "--wait"], "take no --launcher, --wait, --dry-run or --radii"),
        (["run", "--data", "digits/finetune_rs"], "--data, --resample, --run and --seed are for --verify"),
        (["--verify", "a", "--resample", "3"], "--resample K and --run RUN belong together"),
        (["--verify", "a", "--data", "b", "--seed", "3"], "and --seed to them"),
        (["--verify", "a", "--data", "b", "--resample", "3", "--run", "c"], "leave out --data"),
        (["--verify", "a", "dataset.split=test"], "take no SOURCE: leave out 'dataset.split=test'"),
        (
            ["run", "--shard", "0/2", "--launcher", "slurm"],
            "--shard is for machines that share the work by hand: use --",
        ),
        (["--verify", "a", "--data", "no_such_config"], "there is no config 'no_such_config'"),
    ],
)
def test_mistyped_commands(arguments, words):
    assert words in tool(*arguments, status=2)
