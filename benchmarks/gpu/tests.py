"""Phase 1: the tests that need a CUDA device."""

import os
import re
import subprocess
import sys

from benchmarks.gpu.phases import ROOT
from benchmarks.gpu.record import Figures, Record

OUTCOME = re.compile(r"^(\S+::.+?) (PASSED|FAILED|SKIPPED|ERROR)\b", re.MULTILINE)
SUMMARY = re.compile(r"^=+ (.*\d.* in .*?) =+$", re.MULTILINE)


def run(record: Record) -> None:
    """Run the files with such tests; with tiny models only those of one folder, which skips them without a device."""
    folder = ROOT / "tests" / "gpu" if record.tiny else ROOT / "tests"
    files = sorted(str(path.relative_to(ROOT)) for path in folder.rglob("test_*.py") if "mark.gpu" in path.read_text())
    if not files:
        record.skip("pytest -m gpu", f"no file below {folder.relative_to(ROOT)} has a test marked gpu")
        return
    record.measure("pytest -m gpu", lambda: pytest(files, record.left - 2))


def pytest(files: list[str], seconds: float) -> Figures:
    """Return the results of the tests, counted line by line, so that an interrupted run counts as well."""
    # Warnings of other torch versions must not fail a test here. A cache would be written into the repository.
    options = ["-m", "gpu", "-W", "default", "-p", "no:cacheprovider", "-v", "--tb=short", "--durations=5"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, timeout=seconds,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        output, end = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output, end = (error.stdout or b"").decode(errors="replace"), f"stopped after {seconds:.0f} s"
    print(output)
    outcomes = OUTCOME.findall(output)
    summary = SUMMARY.findall(output)
    failed = [name for name, outcome in outcomes if outcome in ("FAILED", "ERROR")]
    return {
        "summary": summary[-1] if summary else "none",
        "passed": sum(outcome == "PASSED" for _, outcome in outcomes),
        "failed": len(failed),
        "skipped tests": sum(outcome == "SKIPPED" for _, outcome in outcomes),
        "exit status": end,
        **({"failures": "\n".join([*failed, *reasons(output)])} if failed else {}),
    }


def reasons(output: str) -> list[str]:
    """Return pytest's own lines about failures."""
    return re.findall(r"^(?:FAILED|ERROR) .*$", output, re.MULTILINE)
