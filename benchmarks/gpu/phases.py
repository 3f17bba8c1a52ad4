"""The phases, their shares of the time, and how each is run: in a process of its own that ends in time."""

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
"""Seconds that a phase has to end by itself after its deadline, before it is killed."""


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        name: of the phase and its JSON.
        weight: its share of the time, over the sum of those of all chosen phases.
        least: seconds below which it is not worth starting.
        module: what is run; ``benchmarks.gpu.<name>`` by default.
    """

    name: str
    weight: float
    least: float
    module: str = ""

    @property
    def target(self) -> str:
        """The module that is run."""
        return self.module or f"benchmarks.gpu.{self.name}"


# In order of worth: what is correct comes before what is fast.
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
    """What the phases of one command share: where to write, what to measure on, and what that is (``facts``)."""

    output: Path
    device: str
    tiny: bool
    data: Path | None
    facts: dict[str, Any]
    environment: dict[str, Any]

    def weight(self, phase: Phase) -> float:
        """Return the share of a phase; where all is tiny, each mostly imports."""
        return 1 if self.tiny else phase.weight

    def least(self, phase: Phase) -> float:
        """Return the seconds below which a phase is not started."""
        return phase.least * (TINY if self.tiny else 1)


def check_time(phases: Sequence[Phase], setting: Setting, seconds: float) -> None:
    """Refuse a time in which no phase could be started."""
    weights = sum(map(setting.weight, phases))
    enough = min(setting.least(phase) * weights / setting.weight(phase) for phase in phases)
    if seconds < enough:
        minutes = f"--minutes {seconds / 60:g} is too short for any phase"
        fewer = ", or fewer --phases" if len(phases) > 1 else ""
        raise UserError(f"{minutes}: give at least {enough / 60:.2g}{fewer}")


def run_all(phases: Sequence[Phase], setting: Setting, seconds: float) -> None:
    """Run the phases in order; time that one leaves over goes to those after it."""
    end = time.time() + seconds
    with tempfile.TemporaryDirectory() as scratch:  # of all phases, so that a killed one leaves nothing behind
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
    """Run one phase until it ends or must end; return what went wrong, an empty text if it wrote its own state."""
    command = [sys.executable, "-m", "benchmarks.gpu.child", phase.target, str(path)]
    command += ["--until", str(until), "--device", setting.device]
    command += ["--tiny"] * setting.tiny + (["--data", str(setting.data)] if setting.data else [])
    # A group of its own, so that it ends with all that it has started; not a session, which would outlive this one.
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": scratch}, process_group=0)
    try:
        code = process.wait(until + GRACE - time.time())
        return f"failed: its process ended with status {code}" if code else ""
    except subprocess.TimeoutExpired:
        return "cut off at its time limit"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
