"""The command line of certification as a user types it: processes, merging, verifying, a module of one's own."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dmaelab.engine import certification_config, run_certification
from dmaelab.launch.shards import certify_in_processes
from dmaelab.records.folders import read_folders, read_header
from dmaelab.records.log import is_locked
from dmaelab.utils.errors import UserError

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


@pytest.mark.slow
def test_one_command_certifies_in_many_processes(run):
    """The same log as one process; a process that cannot write its shard fails alone, and the command again does the
    rest.
    """
    folder = run_certification(certification_config(run, [*QUICK, "certify.name=one"]), progress=False)
    output = tool(run, *QUICK, "certify.name=two", "--processes", "2")
    assert "12" in output
    assert "log: " in output
    assert sorted(path.name for path in (run / "certify/two").glob("shard-*")) == [
        "shard-000-of-002.tsv",
        "shard-001-of-002.tsv",
    ]
    assert rows(run / "certify/two") == rows(folder)
    assert f"{run}/certify/two: all 12 rows follow from their counts" in tool("--verify", run / "certify/two")


@pytest.mark.slow
def test_a_process_that_fails_is_named_and_leaves_the_others(run):
    held = run / "certify/log/shard-001-of-002.tsv"
    cfg = certification_config(run, [*QUICK, "certify.name=log"])
    run_certification(cfg, (0, 2), progress=False)
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as if another process were writing this shard
        with pytest.raises(UserError, match="shards 1 of 2 failed, see above; repeat the command"):
            certify_in_processes(cfg, 2, progress=False)
    assert len(rows(held.parent)) == 6
    assert len(rows(certify_in_processes(cfg, 2, progress=False))) == 12


def test_commands_about_processes_and_shards(run):
    quick = [run, *QUICK]
    assert "--processes is 'many': give a number, or 'auto'" in tool(*quick, "--processes", "many", status=2)
    assert "0 processes cannot certify" in tool(*quick, "--processes", "0", status=2)
    assert "the config is fine" in tool(*quick, "--processes", "2", "--dry-run")
    assert "no images in this shard; log: " in tool(*quick, "--shard", "45/50")


@pytest.mark.slow
def test_children_end_with_a_parent_that_was_killed(run, tmp_path):
    """Else they would go on, and keep the files of their shards locked."""
    code = (
        "import sys\nfrom dmaelab.engine import certification_config\nfrom dmaelab.launch.shards import"
        " certify_in_processes\n"
        "if __name__ == '__main__':\n    certify_in_processes(certification_config(sys.argv[1], sys.argv[2:]), 2,"
        " progress=False)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    slow = [*QUICK, "certifier.n=1000000", "certifier.mode=radius", "certify.name=long"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script, run, *slow], env=environment)
    shards = [run / f"certify/long/shard-00{part}-of-002.tsv" for part in (0, 1)]
    try:
        wait_for(lambda: all(shard.exists() and is_locked(shard) for shard in shards))
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(is_locked(shard) for shard in shards))


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--processes", "2"]])
def test_a_signal_stops_it_with_a_word_and_leaves_whole_rows(run, options):
    command = [
        sys.executable,
        str(ROOT / "tools/certify.py"),
        str(run),
        *QUICK,
        "certifier.n=200000",
        "certifier.mode=radius",
        *options,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    folder = run / "certify/default"
    wait_for(lambda: (folder / "header.json").exists() and rows(folder))
    process.terminate()
    assert (
        "stopped by a signal; finished images are in the log: continue with the same command"
        in process.communicate(timeout=60)[1]
    )
    assert process.returncode == 75
    assert 0 < len(rows(folder)) < 12


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_shards_of_two_machines_are_merged_and_verified(run, tmp_path):
    for part in (0, 1):
        out = ["certify.name=default", f"certify.out_dir={tmp_path / f'machine{part}'}"]
        run_certification(certification_config(run, [*QUICK, *out]), (part, 2), progress=False)
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
    assert f"error: {tmp_path / 'half'}: the identity in the header does not have the hash" in tool(
        "--verify", tmp_path / "half", status=2
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "SOURCE is missing"),
        (["somewhere"], "there is no such run directory"),
        (["--merge", "whole"], "--merge needs a new folder"),
        (["--verify", "nowhere"], "nowhere is no certification log"),
        (["--verify", "a", "--merge", "b"], "not allowed with argument"),
        (["run", "--verify", "a"], "take no SOURCE, but there is 'run'"),
    ],
)
def test_mistyped_commands(arguments, words):
    assert words in tool(*arguments, status=2)


MODULE = """
from torch import nn

class Corners(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.scale * self.head(images.flatten(1))

def no_module():
    return 3
"""
CONFIG = """
import my_models
from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data import build_dataset
from dmaelab.smoothing import build_certifier

certify = dict(out_dir="mine", subset={"count": 4}, batch_size=64, device="cpu")
classifier = L(my_models.Corners)(scale=2.0)
certifier = L(build_certifier)(name="cohen", n0=20, n=100, alpha=0.001)
corruption = L(build_corruption)(name="gaussian", sigma=0.25)
dataset = L(build_dataset)(name="digits", split="test")
"""


def test_any_module_can_be_certified_by_a_config(tmp_path, monkeypatch):
    """A section ``classifier`` instead of a run: restart, shards and tables come with it."""
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "mine.py").write_text(CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    folder = run_certification(certification_config("mine.py"), progress=False)
    assert folder == Path("mine/certify/default")
    assert len(rows(folder)) == 4
    assert read_header(folder)["identity"]["model"]["scale"] == 2.0
    for overrides, words in (
        (["certify.out_dir=None"], "names certify.out_dir"),
        (["certify.run=somewhere"], "and no certify.run"),
        (["classifier.sclae=1"], "did you mean 'scale'"),
        (["classifier._target_=my_models.no_module", "~classifier.scale"], "builds a int, not a torch.nn.Module"),
    ):
        with pytest.raises(UserError, match=words):
            run_certification(certification_config("mine.py", overrides), progress=False)
