#!/usr/bin/env python
"""Draw what a run learned: reconstructions (the paper's Figure 2), or certified-accuracy curves.

    python tools/visualize.py reconstruct runs/digits/pretrain
    python tools/visualize.py curves runs/digits/rs runs/digits/cr --labels RS CR --output curves.png

LOG is a run directory, a folder certify/<name> of one, or a TSV file of another tool.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.utils.cli import run_main


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("reconstruct", help="original, noisy, masked and reconstructed test images of a pre-training run")
    one.add_argument("run", type=Path, help="run directory")
    one.add_argument("--weights", default="final", help="'final', 'best', or a checkpoint (default: final)")
    one.add_argument("--output", type=Path, metavar="PNG", help="default: reconstruction.png in the run directory")
    many = commands.add_parser("curves", help="certified accuracy over the radius, one curve per log")
    many.add_argument("logs", nargs="+", metavar="LOG", help="run directory, certify folder or TSV file")
    many.add_argument("--labels", nargs="+", metavar="TEXT", help="one name for each log, in their order")
    many.add_argument("--title", default="")
    many.add_argument("--output", type=Path, default=Path("curves.png"), metavar="PNG")
    args = parser.parse_args()
    if args.command == "reconstruct":
        _reconstruct(args)
    else:
        _curves(args)


def _reconstruct(args: argparse.Namespace) -> None:
    from dmaelab.launch.report import describe_reconstruction

    print("\n".join(describe_reconstruction(args.run, args.output or args.run / "reconstruction.png", args.weights)))


def _curves(args: argparse.Namespace) -> None:
    from dmaelab.analysis.plots import plot_certified_accuracy
    from dmaelab.analysis.tables import labelled_logs

    plot_certified_accuracy(labelled_logs(args.logs, args.labels), args.output, args.title)
    print(f"curves: {args.output}")


if __name__ == "__main__":
    run_main(main)
