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
    with CertificationLog(folder, identity={"sigma": 0.25, "subset": {"count": 3, "hash": ""}}, context={}, columns=()) as log:
        log.append(make_row(0, 1, 1, 0.5, 0.1, {}))
        log.append(make_row(1, 1, 1, 1 / 3, 0.1, {}))
    done = summarize(tmp_path / "runs" / "cr", LOGS / next(iter(EXPECTED)), "--intervals", "--output", "table.txt", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr == f"warning: {folder} is incomplete: 2 of 3 images\n"
    lines = (tmp_path / "table.txt").read_text().splitlines()
    assert lines[2].split()[:3] == ["cr/sigma-0.25", "2", "100.0"]
    assert len(lines) == 4


def test_bad_input_is_one_line_and_status_2(tmp_path):
    (tmp_path / "empty.tsv").write_text("")
    for arguments, message in [
        (["empty.tsv"], "error: empty.tsv is empty\n"),
        (["none.tsv"], "error: no certification log at none.tsv\n"),
        ([LOGS / next(iter(EXPECTED)), "--labels", "a", "b"], "error: --labels has 2 names for 1 logs: "),
        ([LOGS / next(iter(EXPECTED)), "--radii", "-1"], "error: radii are [-1.0]: "),
    ]:
        done = summarize(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1
