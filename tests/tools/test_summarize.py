import json
import subprocess
import sys
from pathlib import Path

import pytest

from dmaelab.records.log import CertificationLog
from dmaelab.records.row import make_row

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "tests" / "data" / "certify_logs"
EXPECTED = json.loads((LOGS / "expected.json").read_text())
PUBLIC = LOGS / "locuslab__smoothing__data__certify__cifar10__resnet110__noise_0.25__test__sigma_0.25.tsv"
HEAD = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


def summarize(*arguments, cwd):
    command = [sys.executable, str(ROOT / "tools" / "summarize.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_json_gives_the_known_figures_of_public_logs(tmp_path):
    done = summarize(*(LOGS / name for name in EXPECTED), "--format", "json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for record, (name, expected) in zip(json.loads(done.stdout), EXPECTED.items(), strict=True):
        assert Path(record["file"]).name == name
        assert record["rows"] == expected["rows"]
        assert record["certified_accuracy"] == pytest.approx(expected["cert_acc"], abs=1e-6)
        assert (record["abstain"], record["acr"]) == pytest.approx((expected["abstain"], expected["acr"]), abs=1e-6)


def test_run_directories_and_foreign_files_in_one_table(tmp_path):
    folder = tmp_path / "runs" / "cr" / "certify" / "sigma-0.25"
    with CertificationLog(
        folder, identity={"sigma": 0.25, "subset": {"count": 3, "hash": ""}}, context={}, columns=()
    ) as log:
        log.append(make_row(0, 1, 1, 0.5, 0.1, {}))
        log.append(make_row(1, 1, 1, 1 / 3, 0.1, {}))
    done = summarize(
        tmp_path / "runs" / "cr", LOGS / next(iter(EXPECTED)), "--intervals", "--output", "table.txt", cwd=tmp_path
    )
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr == f"warning: {folder} is incomplete: 2 of 3 images\n"
    lines = (tmp_path / "table.txt").read_text().splitlines()
    assert lines[2].split()[:3] == ["cr/sigma-0.25", "2", "100.0"]
    assert len(lines) == 4


def test_hand_made_logs_of_every_kind(tmp_path):
    rows = [
        "0\t1\t1\t0.75\t1\t15.4",
        "20\t1\t-1\t0.0\t0\t0:00:15",
        "40\t1\t2\t1.5\t0\t0:01:15.25",
        "60\t1\t1\t0.74\t1\t1.0",
    ]
    (tmp_path / "plain").write_text(
        HEAD + "\n".join(rows) + "\n"
    )  # right, abstained, wrong, just below the grid radius
    running = ["0\t1\t1\t0.75\t1\t0:00:15.1", "1\t1\t1\t0.5\t2\t0:00:15.1", "2\t1\t2\t0.5\t2\t0:00:15.1"]
    (tmp_path / "running").write_text(HEAD + "\n".join(running) + "\n")
    done = summarize("plain", "running", "--radii", "0.5", "0.75", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == "warning: running: 'correct' is not predict == label in 2 rows; recomputed\n"
    header, _, plain, counted = done.stdout.splitlines()
    assert header.split() == ["log", "images", "clean", "r=0.50", "r=0.75", "abstain", "ACR", "median"]
    assert plain.split() == ["plain", "4", "50.0", "50.0", "25.0", "25.0", "0.372", "0.370"]
    assert counted.split() == ["running", "3", "66.7", "66.7", "33.3", "0.0", "0.417", "0.500"]


def test_all_options_together(tmp_path):
    options = [
        "--intervals",
        "wilson",
        "--bound",
        "0.05",
        "--alpha",
        "0.001",
        "--norms",
        "linf",
        "l0",
        "--shape",
        "3x32x32",
    ]
    done = summarize(PUBLIC, *options, "--radii", "0.5", "--labels", "RS", "--format", "markdown", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    header, _, line = ([cell.strip() for cell in row.strip("|").split("|")] for row in done.stdout.splitlines())
    assert header == ["log", "images", "clean", "r=0.50", "abstain", "ACR", "median", "ACR linf", "ACR l0"]
    assert line[:4] == ["RS", "500", "74.8 [70.8, 78.4] (>=71.3)", "42.8 [38.5, 47.2] (>=39.0)"]
    assert line[-2:] == ["0.00774", "0.000"]


def test_two_sided_radii_of_our_logs(tmp_path):
    columns = ("top", "radius_full", "radius_two_sided", "samples")
    with CertificationLog(tmp_path / "log", identity={"norm": "l2", "alpha": 0.01}, context={}, columns=columns) as log:
        for index, two in enumerate((0.6, 0.3, 0.0)):
            log.append(
                make_row(
                    index, 1, -1, 0.0, 0.1, {"top": 1, "radius_full": 0.0, "radius_two_sided": two, "samples": 1100}
                )
            )
    done = summarize("log", "--two-sided", "--bound", "0.05", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    cells = " ".join(done.stdout.splitlines()[2].split())
    assert cells == "log 3 66.7 (>=12.6) 66.7 (>=12.6) 33.3 (>=0.7) 33.3 0.300 0.300 1,100"


def test_bad_input_is_one_line_and_status_2(tmp_path):
    (tmp_path / "empty.tsv").write_text("")
    (tmp_path / "header.tsv").write_text(HEAD)
    (tmp_path / "twice.tsv").write_text(HEAD + "3\t1\t1\t0.5\t1\t1.0\n3\t1\t1\t0.6\t1\t1.0\n")
    for arguments, message in [
        (["empty.tsv"], "error: empty.tsv is empty\n"),
        (["none.tsv"], "error: no certification log at none.tsv\n"),
        ([LOGS / next(iter(EXPECTED)), "--labels", "a", "b"], "error: --labels has 2 names for 1 logs: "),
        ([LOGS / next(iter(EXPECTED)), "--radii", "-1"], "error: radii are [-1.0]: "),
        (["header.tsv"], "error: header.tsv has no rows"),
        (["twice.tsv"], "error: twice.tsv: image 3 has two rows, in lines 2 and 3"),
        ([PUBLIC, "--bound", "0.05"], f"error: {PUBLIC} does not say at which alpha it was certified: give --alpha"),
        ([PUBLIC, "--norm", "linf"], f"error: {PUBLIC} does not say what shape its images have: give --shape"),
        ([PUBLIC, "--norms", "linf", "--shape", "32x32"], "error: shape '32x32': "),
        ([PUBLIC, "--two-sided"], f"error: {PUBLIC} has no two-sided radii"),
    ]:
        done = summarize(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1
