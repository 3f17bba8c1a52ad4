import json
import subprocess
import sys
from pathlib import Path

import pytest

from dmaelab.records.indices import subset
from dmaelab.records.log import CertificationLog
from dmaelab.records.row import make_row

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "tests" / "data" / "certify_logs"
IMAGENET = LOGS / "locuslab__smoothing__data__certify__imagenet__resnet50__noise_0.50__test__sigma_0.50.tsv"
FOREIGN = ["method=RS (Cohen et al., 2019)", "backbone=ResNet-50", "n=100000", "n0=100", "alpha=0.001"]


def summarize(*arguments, cwd):
    command = [sys.executable, str(ROOT / "tools" / "summarize.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def runs(tmp_path):
    """Two run directories as certification leaves them: linear probes on MAE and DMAE, three images each."""
    for name, radii in (("MAE", (0.6, 0.2, 0.1)), ("DMAE", (1.1, 0.6, 0.0))):
        identity = {
            "sigma": 0.5,
            "n": 10_000,
            "n0": 100,
            "alpha": 0.001,
            "norm": "l2",
            "subset": subset(range(3)),
            "weights": name,
        }
        labels = {"method": "probe", "pretrain": name, "backbone": "ViT-tiny", "sigma": 0.5, "dataset": "CIFAR-10"}
        folder = tmp_path / "runs" / name.lower() / "certify" / "sigma-0.5"
        with CertificationLog(
            folder, identity=identity, context={"labels": labels}, columns=(), indices=range(3)
        ) as log:
            for index, radius in enumerate(radii):
                log.append(make_row(index, 1, 1 if radius else -1, radius, 0.1, {}))
    return tmp_path


def test_run_directories_make_table_4(runs):
    done = summarize("--table", "4", "runs/mae", "runs/dmae", "--radii", "0", "0.5", "1", cwd=runs)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Table 4. Certified accuracy (%) of linear probes on features of MAE and DMAE, CIFAR-10",
        "",
        "sigma    Method           r=0.0         r=0.5         r=1.0",
        "-------  --------  ------------  ------------  ------------",
        "0.5      MAE              100.0          33.3           0.0",
        "         DMAE      66.7 (-33.3)  66.7 (+33.3)  33.3 (+33.3)",
        "",
        "n = 10000, n0 = 100, alpha = 0.001, l2 radii, 3 images.",
        "In brackets: gap to the row with pretrain=MAE, in percentage points. All other labels are equal.",
    ]


def test_labels_change_what_a_log_is(runs):
    done = summarize("runs/mae", "runs/dmae", "--table", "2", "--label", "runs/mae", "pretrain=none", "method=RS",
        "--output", "out.tex",
                     "--format", "latex", cwd=runs)  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    lines = (runs / "out.tex").read_text().splitlines()
    assert lines[0] == r"\begin{table}"
    assert r"0.5 & RS & \textbf{100.0}$^{**}$ & 33.3$^{*}$ & 0.0 & 0.0 & 0 & 0 \\" in lines


def test_public_logs_beside_the_paper(tmp_path):
    done = summarize(
        IMAGENET,
        "--table",
        "2",
        "--paper",
        "--format",
        "json",
        "--label",
        IMAGENET,
        *FOREIGN,
        "eval_sigma=0.5",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, *rows = json.loads(done.stdout)["rows"]
    known = json.loads((LOGS / "expected.json").read_text())[IMAGENET.name]["cert_acc"]
    for cell in first["cells"]:
        assert cell["share"] == pytest.approx(known[f"{cell['radius']:.2f}"], abs=1e-6)
    printed = next(row for row in rows if (row["sigma"], row["Method"]) == ("0.5", "RS (Cohen et al., 2019)"))
    assert printed["source"] == "paper"
    for cell, other in zip(first["cells"], printed["cells"], strict=True):  # Cohen et al. state the same model
        assert cell["share"] == pytest.approx(other["share"], abs=0.005)


def test_bad_input_is_one_line_and_status_2(runs):
    for arguments, message in [
        (
            ["runs/dmae", "--table", "4"],
            "error: table 4 lacks 1 of its rows: MAE at sigma 0.5 (pretrain=MAE method=probe ",
        ),
        (
            ["runs/mae", "--table", "2", "--label", "runs/mea", "seed=1"],
            "error: --label runs/mea: this log is not among those given",
        ),
        (["--table", "2", "--label", "runs/mae", "seed=1", "runs/mae"], "usage: "),
        (
            ["runs/mae", "--label", "runs/mae", "seed=1", "--partial"],
            "error: without --table there is no --label, --partial",
        ),
        (["runs/mae", "--table", "2", "--labels", "a", "--norm", "l1"], "error: --table has no --labels, --norm"),
    ]:
        done = summarize(*arguments, cwd=runs)
        assert done.returncode == 2
        assert done.stderr.startswith(message), done.stderr
        assert done.stderr.count("\n") == 1 or message == "usage: "
