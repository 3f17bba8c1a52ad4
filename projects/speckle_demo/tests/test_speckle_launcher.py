"""The demo's launcher does every part of a certification once, and goes on after a part that failed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dmaelab.launch.job import CertifyJob
from dmaelab.launch.launcher import choose_launcher
from dmaelab.launch.work import Work
from dmaelab.records.folders import read_folders
from dmaelab.utils.cli import PREEMPTED
from dmaelab.utils.errors import MachineError, Preempted, UserError

ROOT = Path(__file__).resolve().parents[3]
ONE_BY_ONE = "projects.speckle_demo.launcher.OneByOne"
CONFIG = """
from torch import nn
from dmaelab.config import LazyCall as L, get_config
from dmaelab.data import build_dataset

_base = get_config("certify/default")
certify, certifier, corruption = _base.certify, _base.certifier, _base.corruption
certify.update(out_dir="mine", device="cpu", precision="fp32", batch_size=50, subset=None)
certifier.n, corruption.sigma = 50, 0.5
classifier = L(nn.Flatten)()  # the answer is the brightest number of the image
dataset = L(build_dataset)(name="generated", split="test", image_size=2, num_classes=12, count=5)
"""


class Ends(CertifyJob):
    """A job whose parts end with the statuses in its config, or are killed by the kernel (-9)."""

    def part(self, number, count):
        return Ends(json.dumps(json.loads(self.config)["statuses"][number]))

    def __call__(self):
        status = int(self.config)
        if status < 0:
            os.kill(os.getpid(), -status)
        sys.exit(status)


def launch(statuses):
    job = Ends(json.dumps({"statuses": statuses}))
    choose_launcher(len(statuses), ONE_BY_ONE).launch(Work.of(job, Path()))


@pytest.mark.parametrize(
    ("statuses", "kind", "text"),
    [
        (
            [2, -signal.SIGKILL, 0],
            UserError,
            r"parts 0, 1 of 3 failed, see above \(1: killed by SIGKILL, perhaps because",
        ),
        ([-signal.SIGKILL], MachineError, r"part 0 of 1 failed, see above \(0: killed by SIGKILL, perhaps because"),
    ],
)
def test_parts_that_fail_or_are_killed_do_not_stop_the_others(statuses, kind, text):
    with pytest.raises(kind, match=text) as caught:
        launch(statuses)
    assert str(caught.value).endswith("; repeat the command to do what is missing")


def test_a_part_that_a_signal_stopped_stops_all():
    with pytest.raises(Preempted, match="continue with the same command"):
        launch([PREEMPTED, 2])


@pytest.mark.slow
def test_the_command_starts_the_parts_with_it(tmp_path):
    (tmp_path / "mine.py").write_text(CONFIG)
    for name, options in (("whole", []), ("parts", ["--launcher", ONE_BY_ONE, "--processes", "2"])):
        command = [sys.executable, str(ROOT / "tools/certify.py"), "mine.py", f"certify.name={name}", *options]
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300, check=True)
    whole, parts = (read_folders([tmp_path / "mine/certify" / name]) for name in ("whole", "parts"))
    without_time = [column for column in whole.columns if column != "time"]
    assert len(whole.rows) == 5
    for index, row in whole.rows.items():
        for column in without_time:
            assert parts.rows[index][parts.columns.index(column)] == row[whole.columns.index(column)]
    assert len(list((tmp_path / "mine/certify/parts").glob("shard-*-of-002.tsv"))) == 2
