"""The phases and their shares of the time. Each runs in its own process, which is ended at its time limit."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.record import TINY
from benchmarks.gpu.report import write_report
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_json

ROOT = Path(__file__).resolve().parents[2]
GRACE = 5.0
"""A phase is killed if it has not ended by itself this number of seconds after its deadline."""


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        name: name of the phase and of its JSON file.
        weight: its share of the time is this weight divided by the sum over all chosen phases.
        least: the phase is not started with less than this number of seconds.
        module: module to run; ``benchmarks.gpu.<name>`` by default.
    """

    name: str
    weight: float
    least: float
    module: str = ""

    @property
    def target(self) -> str:
        """The module to run."""
        return self.module or f"benchmarks.gpu.{self.name}"


# The most important phases come first: correctness before speed.
PHASES = (
    Phase("tests", weight=20, least=20),
    Phase("certification", weight=30, least=30),
    Phase("training", weight=18, least=30),
    Phase("rules", weight=7, least=15),
    Phase("loaders", weight=5, least=15),
    Phase("evidence", weight=20, least=90),
)


@dataclass(frozen=True)
class Setting:
    """Settings that all phases of one command share: output folder, device, and facts about the machine."""

    output: Path
    device: str
    tiny: bool
    data: Path | None
    facts: dict[str, Any]
    environment: dict[str, Any]

    def weight(self, phase: Phase) -> float:
        """Return the weight of a phase; with tiny models all are equal, because imports take most of the time."""
        return 1 if self.tiny else phase.weight

    def least(self, phase: Phase) -> float:
        """Return the number of seconds that a phase needs at least to be started."""
        return phase.least * (TINY if self.tiny else 1)


def check_time(phases: Sequence[Phase], setting: Setting, seconds: float) -> None:
    """Refuse a time limit that is too short to start any phase."""
    weights = sum(map(setting.weight, phases))
    enough = min(setting.least(phase) * weights / setting.weight(phase) for phase in phases)
    if seconds < enough:
        minutes = f"--minutes {seconds / 60:g} is too short for any phase"
        fewer = ", or fewer --phases" if len(phases) > 1 else ""
        raise UserError(f"{minutes}: give at least {enough / 60:.2g}{fewer}")


def run_all(phases: Sequence[Phase], setting: Setting, seconds: float) -> None:
    """Run the phases in order; time that a phase does not need goes to the following ones."""
    end = time.time() + seconds
    with tempfile.TemporaryDirectory() as scratch:  # for all phases, so that files of a killed one are removed
        for number, phase in enumerate(phases):
            share = (end - time.time()) * setting.weight(phase) / sum(map(setting.weight, phases[number:]))
            path = setting.output / f"{phase.name}.json"
            head = {"phase": phase.name, "status": "running", "run": setting.facts, "environment": setting.environment}
            write_json(path, {**head, "measurements": {}})
            if share < setting.least(phase):
                status = f"skipped: its share is {max(share, 0):.0f} s, and it needs {setting.least(phase):.0f}"
            else:
                print(f"{phase.name}: {share:.0f} s", file=sys.stderr, flush=True)
                status = _run(phase, setting, path, time.time() + share, scratch)
            if status:
                write_json(path, json.loads(path.read_text()) | {"status": status})
            write_report(setting.output, [phase.name for phase in PHASES])


def _run(phase: Phase, setting: Setting, path: Path, until: float, scratch: str) -> str:
    """Run one phase up to its time limit; return what went wrong, or an empty text if it wrote its own status."""
    command = [sys.executable, "-m", "benchmarks.gpu.child", phase.target, str(path)]
    command += ["--until", str(until), "--device", setting.device]
    command += ["--tiny"] * setting.tiny + (["--data", str(setting.data)] if setting.data else [])
    # A new process group, so that the phase can be ended with its children. A new session would outlive this process.
    here = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": here, "TMPDIR": scratch}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, process_group=0)
    try:
        code = process.wait(until + GRACE - time.time())
        return f"failed: its process ended with status {code}" if code else ""
    except subprocess.TimeoutExpired:
        return "cut off at its time limit"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
