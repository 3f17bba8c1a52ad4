import json
import subprocess
import sys
from pathlib import Path

import pytest

from dmaelab.config import open_config
from dmaelab.engine import open_certification, run_training
from dmaelab.engine.training import SECTIONS

ROOT = Path(__file__).parents[2]
MODEL = ["model.classifier.backbone.width=16", "model.classifier.backbone.depth=1", "optimizer.lr=5e-3"]
TRAIN = [
    "train.init_from=None",
    "train.max_iter=300",
    "train.log_period=300",
    "train.eval_images=20",
    "train.eval_period=0",
]
CERTIFY = [
    "certifier.n=200",
    "certifier.n0=20",
    "certify.batch_size=128",
    'certify.subset={"count": 10}',
    "certify.device=cpu",
]
SHORT = ["--steps", "6", "--samples", "16", "--n", "500", "certify.device=cpu", "certify.batch_size=128"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small classifier, certified on ten images."""
    out = tmp_path_factory.mktemp("attack") / "rs"
    run_training(
        open_config("digits/finetune_rs", [*MODEL, *TRAIN, f"train.out_dir={out}", "train.device=cpu"], SECTIONS)
    )
    open_certification(out, CERTIFY).run(progress=False)
    return out


def attack(*arguments):
    command = [sys.executable, str(ROOT / "tools/attack.py"), *map(str, arguments), *SHORT]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_table_a_summary_and_a_report(run):
    done = attack(run, "--images", 5, "--seed", 3, "--restarts", 1)
    assert (done.returncode, done.stderr) == (0, "")
    head, _, *rows, summary, report = done.stdout.splitlines()
    assert head.split() == ["image", "class", "radius", "distance", "answer", "outcome"]
    assert len(rows) == 5
    assert summary.startswith("5 images x 1 attempts: ")
    assert summary.endswith("the certificates stand")
    path = run / "certify/default/attack.json"
    assert report == f"report: {path}"
    settings = json.loads(path.read_text())["settings"]
    assert settings == {"scale": 1.0, "alpha": 0.001, "steps": 6, "restarts": 1, "samples": 16, "n": 500, "seed": 3}


def test_radii_that_were_made_up_give_status_1_and_a_larger_scale_does_not(run):
    done = attack(run, "--scale", 5)
    assert (done.returncode, done.stderr) == (0, "")
    assert "at 5 times the certified radius nothing is promised" in done.stdout
    (path,) = (run / "certify/default").glob("shard-*.tsv")
    text = path.read_text()
    head, *lines = (line.split("\t") for line in text.splitlines())
    column = head.index("radius_full")
    for cells in lines:
        cells[column] = repr(5 * float(cells[column]))
    path.write_text("".join("\t".join(cells) + "\n" for cells in [head, *lines]))
    try:
        done = attack(run)
    finally:
        path.write_text(text)
    assert (done.returncode, done.stderr) == (1, "")
    assert "the certificates are NOT sound" in done.stdout


def test_bad_input_is_one_line_and_status_2(run):
    for arguments, message in [
        ((run, "certify.name=other"), f"error: {run}/certify/other holds no certification log"),
        (
            (run, "corruption.sigma=0.5"),
            f"error: {run}/certify/default is the log of another certification: sigma is 0.25 there, 0.5 here",
        ),
        ((run, "--scale", 0), "error: scale is 0"),
        ((run, "--restarts", 0), "error: restarts is 0"),
        (("nowhere",), "error: nowhere: there is no such run directory"),
    ]:
        done = attack(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1
