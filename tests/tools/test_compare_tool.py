import subprocess
import sys
from pathlib import Path

import pytest

from dmaelab.records.log import CertificationLog
from dmaelab.records.row import make_row

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "tests" / "data" / "certify_logs"
A, B = (LOGS / f"locuslab__smoothing__data__certify__cifar10__resnet110__{name}.tsv" for name in
        ("noise_0.25__test__sigma_0.25", "noise_0.50__test__sigma_0.50"))  # fmt: skip
IMAGENET = LOGS / "locuslab__smoothing__data__certify__imagenet__resnet50__noise_0.50__test__sigma_0.50.tsv"
CONSISTENCY = next(LOGS.glob("jh-jeong__*noise_0.25.tsv"))


def run(tool, *arguments, cwd):
    command = [sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def runs(tmp_path):
    """Two certified runs of the same two images, with other settings."""
    for name, n in (("a", 1000), ("b", 10000)):
        identity = {"norm": "l2", "n": n, "alpha": 0.001, "sigma": 0.25}
        with CertificationLog(
            tmp_path / name / "certify" / "default", identity=identity, context={}, columns=()
        ) as log:
            log.append(make_row(0, 1, 1, n / 20000, 0.1, {}))
            log.append(make_row(1, 1, 0, 0.5, 0.1, {}))
    return tmp_path


def test_public_logs(tmp_path):
    done = run("compare.py", A, B, "--images", 2, "--output", "images.tsv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.50  42.8  41.4     -1.4        37        30" in done.stdout
    assert "227 larger in B, 163 larger in A, 110 equal" in done.stdout
    lines = (tmp_path / "images.tsv").read_text().splitlines()
    assert len(lines) == 501
    assert lines[0].split("\t")[0] == "idx"
    changes = [float(line.split("\t")[-1]) for line in lines[1:]]
    assert changes == sorted(changes, reverse=True)
    assert lines[1].split("\t")[0] == "220"


def test_the_images_that_both_have(tmp_path):
    done = run("compare.py", A, CONSISTENCY, cwd=tmp_path)
    assert done.returncode == 2
    assert (
        "0 of 500 are missing in the second, 9500 of 10000 in the first; --common compares the 500 that both have"
        in done.stderr
    )
    done = run("compare.py", A, CONSISTENCY, "--common", "--norm", "linf", "--shape", "3x32x32", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "certified radius (linf) of 500 images" in done.stdout


def test_runs_of_other_settings_are_warned_of(runs):
    done = run("compare.py", "a", "b", cwd=runs)
    assert done.returncode == 0
    assert done.stderr == "warning: the logs differ in more than the model: n is 1000 in A, 10000 in B\n"


def test_bad_input_is_one_line_and_status_2(runs):
    for arguments, message in [
        ((A, "none.tsv"), "error: no certification log at none.tsv"),
        ((A, IMAGENET, "--common"), f"error: {A} and {IMAGENET} are not on the same data set: 99 of 100 labels differ"),
        ((A, B, "--radii", "-1"), "error: radii are [-1.0]"),
        ((A, B, "--norm", "l0"), f"error: {A} does not say what shape"),
        (("a", "."), "error: no certification log in ."),
    ]:
        done = run("compare.py", *arguments, cwd=runs)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib", reason="extra 'demo' is not installed")
    done = run("visualize.py", "compare", A, B, "--labels", "0.25", "0.50", "--output", "radii.png", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "comparison: radii.png\n", "")
    assert (tmp_path / "radii.png").read_bytes().startswith(b"\x89PNG")
    done = run("visualize.py", "curves", A, B, "--output", "curves.svg", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "curves: curves.svg\n")
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
    for command in ("curves", "compare"):
        done = run("visualize.py", command, A, B, "--output", "picture.jpg", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, "error: picture.jpg: a picture's name ends in .png or .svg\n")
