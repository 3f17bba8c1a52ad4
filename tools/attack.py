#!/usr/bin/env python
"""Attack certified images of a finished certification: search inside each certified ball for another class.

    python tools/attack.py runs/digits/rs dataset.split=test
    python tools/attack.py runs/digits/rs dataset.split=test certify.name=half corruption.sigma=0.5 --images 100
    python tools/attack.py runs/digits/rs dataset.split=test --scale 2

Give SOURCE and key=value as for the tools/certify.py command that made the log. The report is printed, and
written to attack.json in the folder of the log. The exit status is 1 if the class of more images changed than
alpha allows. With --scale above 1 the certificates promise nothing, and the exit status is 0. docs/attack.md
explains the report.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.utils.cli import run_main


def main() -> None:
    """Read the config and its log, run the attack, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="run directory, or certification config")
    parser.add_argument(
        "--images",
        type=int,
        default=20,
        metavar="N",
        help="number of certified images to attack, drawn at random (default: 20)",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="S", help="factor of the certified radii (default: 1)"
    )
    parser.add_argument(
        "--steps", type=int, default=20, metavar="N", help="gradient steps of each attempt (default: 20)"
    )
    parser.add_argument("--restarts", type=int, default=2, metavar="N", help="attempts for each image (default: 2)")
    parser.add_argument(
        "--samples", type=int, default=32, metavar="N", help="noisy samples for each gradient (default: 32)"
    )
    parser.add_argument(
        "--n", type=int, default=1000, metavar="N", help="noisy samples of PREDICT at each point found (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the attack (default: 0)")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()

    from dmaelab.attacks.pgd import PGD
    from dmaelab.engine.attack import report_lines, run_attack
    from dmaelab.engine.certification import open_certification

    report, path = run_attack(
        open_certification(args.source, args.overrides),
        images=args.images,
        scale=args.scale,
        attack=PGD(args.steps, args.restarts, args.samples),
        n=args.n,
        seed=args.seed,
    )
    print("\n".join(report_lines(report)))
    print(f"report: {path}")
    if not report.sound:
        sys.exit(1)


if __name__ == "__main__":
    run_main(main)
