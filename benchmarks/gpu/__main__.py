"""Everything that is worth knowing on a GPU, within a time limit.

    python -m benchmarks.gpu --minutes 6 --output DIR [--phases tests certification ...] [--data cifar10-jpeg.tar.xz]
    python -m benchmarks.gpu --minutes 1 --output DIR --device cpu --tiny      # a trial of the code, anywhere

Phases, in order of worth: tests, certification, training, rules, loaders, evidence. Each writes ``DIR/<phase>.json``
after every single measurement, and ``DIR/gpu.md`` shows all of them, so that a command that is cut off keeps what it
has. ``--phases`` runs some, or some again. ``evidence`` needs CIFAR-10 as an image folder: $DMAELAB_DATA/cifar10-jpeg,
or --data.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.phases import PHASES, Phase, Setting, check_time, run_all
from dmaelab.utils.cli import run_main
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.env import environment
from dmaelab.utils.errors import UserError, did_you_mean


def main() -> None:
    """Check what was asked for, run the phases, say where the figures are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="for all phases together (default: 6)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the figures")
    parser.add_argument("--phases", nargs="+", default=[phase.name for phase in PHASES], metavar="PHASE")
    parser.add_argument("--device", default="auto", help="cuda, cuda:N or cpu (default: cuda where there is one)")
    parser.add_argument("--tiny", action="store_true", help="tiny models and sizes: shows that the command works")
    parser.add_argument("--data", type=Path, metavar="FILE", help="archive with the folder cifar10-jpeg")
    args = parser.parse_args()
    if not args.minutes > 0:
        raise UserError(f"--minutes is {args.minutes:g}: give a number above 0")
    if args.data is not None and not args.data.is_file():
        raise UserError(f"--data: there is no file {args.data}")
    phases, device, context = chosen(args.phases), pick_device(args.device), environment()
    data = args.data and args.data.resolve()
    facts = facts_of(device, args.tiny, context)
    setting = Setting(args.output.resolve(), str(device), args.tiny, data, facts, context)
    check_folder(setting.output, facts)
    check_time(phases, setting, 60 * args.minutes)
    run_all(phases, setting, 60 * args.minutes)
    print(f"figures: {args.output / 'gpu.md'}")


def chosen(names: Sequence[str]) -> list[Phase]:
    """Return the phases of these names, in their usual order."""
    known = [phase.name for phase in PHASES]
    for name in names:
        if name not in known:
            there = f"there are: {', '.join(known)}"
            raise UserError(f"--phases: there is no phase '{name}'{did_you_mean(name, known)}; {there}")
    return [phase for phase in PHASES if phase.name in names]


def facts_of(device: torch.device, tiny: bool, context: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same for figures that share a folder."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else context["cpu"]
    versions = {package: context["versions"][package] for package in ("dmaelab", "torch")}
    return {"device": name, "code": context["code"], **versions, "tiny": tiny}


def check_folder(output: Path, facts: dict[str, Any]) -> None:
    """Refuse a folder that holds figures of something else."""
    for path in (output / f"{phase.name}.json" for phase in PHASES):
        theirs = json.loads(path.read_text()).get("run", {}) if path.exists() else facts
        for key, value in facts.items():
            if theirs.get(key) != value:
                there = f"{path} was measured with {key} {theirs.get(key)}, and here it is {value}"
                raise UserError(f"{there}: give another --output, or remove that folder")


if __name__ == "__main__":
    run_main(main)
