"""Run tests and measurements on a GPU within a time limit.

    python -m benchmarks.gpu --minutes 6 --output DIR [--phases tests certification ...] [--data cifar10-jpeg.tar.xz]
    python -m benchmarks.gpu --minutes 1 --output DIR --device cpu --tiny      # a trial of the code, anywhere

The phases, most important first: tests, certification, training, rules, loaders, evidence. Each phase writes
``DIR/<phase>.json`` after every measurement, so that nothing is lost if the command is interrupted. ``DIR/gpu.md``
shows the results of all phases. ``--phases`` selects phases, also to repeat them. ``evidence`` needs CIFAR-10 as an
image folder, in $DMAELAB_DATA/cifar10-jpeg or from --data.
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
    """Check the arguments, run the phases, and print where the results are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="time limit for all phases together (default: 6)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--phases", nargs="+", default=[phase.name for phase in PHASES], metavar="PHASE")
    parser.add_argument("--device", default="auto", help="cuda, cuda:N or cpu (default: cuda if available)")
    parser.add_argument("--tiny", action="store_true", help="use tiny models and sizes, to test the command")
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
    """Return the phases with these names, in the standard order."""
    known = [phase.name for phase in PHASES]
    for name in names:
        if name not in known:
            there = f"there are: {', '.join(known)}"
            raise UserError(f"--phases: there is no phase '{name}'{did_you_mean(name, known)}; {there}")
    return [phase for phase in PHASES if phase.name in names]


def facts_of(device: torch.device, tiny: bool, context: dict[str, Any]) -> dict[str, Any]:
    """Return the facts (such as device and versions) that must agree for all results in one folder."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else context["cpu"]
    versions = {package: context["versions"][package] for package in ("dmaelab", "torch")}
    return {"device": name, "code": context["code"], **versions, "tiny": tiny}


def check_folder(output: Path, facts: dict[str, Any]) -> None:
    """Refuse a folder that already has results with other facts."""
    for path in (output / f"{phase.name}.json" for phase in PHASES):
        theirs = json.loads(path.read_text()).get("run", {}) if path.exists() else facts
        for key, value in facts.items():
            if theirs.get(key) != value:
                there = f"{path} was measured with {key} {theirs.get(key)}, and here it is {value}"
                raise UserError(f"{there}: give another --output, or remove that folder")


if __name__ == "__main__":
    run_main(main)
