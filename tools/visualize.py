#!/usr/bin/env python
"""Draw reconstructions (as in Figure 2 of the paper), certified-accuracy curves, or the radii of two logs.

    python tools/visualize.py reconstruct runs/digits/pretrain
    python tools/visualize.py curves runs/digits/rs runs/digits/cr --labels RS CR --output curves.svg
    python tools/visualize.py compare runs/digits/rs runs/digits/cr --labels RS CR --output radii.png

LOG, A and B are run directories, folders certify/<name> of run directories, or TSV files of other tools.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.utils.cli import plugin_option, run_main


def main() -> None:
    """Draw the picture that the subcommand names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser(
        "reconstruct", help="original, noisy, masked and reconstructed test images of a pre-training run"
    )
    one.add_argument("run", type=Path, help="run directory")
    one.add_argument("--weights", default="final", help="'final', 'best', or a checkpoint (default: final)")
    one.add_argument("--output", type=Path, metavar="PNG", help="default: reconstruction.png in the run directory")
    many = commands.add_parser("curves", help="certified accuracy over the radius, one curve per log")
    many.add_argument("logs", nargs="+", metavar="LOG", help="run directory, certify folder or TSV file")
    many.add_argument("--labels", nargs="+", metavar="TEXT", help="names of the logs, in their order")
    many.add_argument("--title", default="")
    many.add_argument(
        "--output", type=Path, default=Path("curves.png"), metavar="FILE", help=".png or .svg (default: curves.png)"
    )
    two = commands.add_parser(
        "compare", help="scatter plot: the certified radius of each image in log B against that in log A"
    )
    two.add_argument("a", metavar="A", help="run directory, certify folder or TSV file")
    two.add_argument("b", metavar="B", help="the same, for the same images")
    two.add_argument("--labels", nargs=2, metavar="TEXT", help="names of the two logs")
    two.add_argument("--common", action="store_true", help="leave out images that are in only one of the logs")
    two.add_argument(
        "--output", type=Path, default=Path("compare.png"), metavar="FILE", help=".png or .svg (default: compare.png)"
    )
    for command in (one, many, two):
        plugin_option(command)
    args = parser.parse_args()

    from dmaelab.config import trust_plugins

    trust_plugins(args.plugin)
    {"reconstruct": _reconstruct, "curves": _curves, "compare": _compare}[args.command](args)


def _reconstruct(args: argparse.Namespace) -> None:
    from dmaelab.pictures.reconstructions import draw_reconstructions

    picture = args.output or args.run / "reconstruction.png"
    print("\n".join(draw_reconstructions(args.run, picture, args.weights)))


def _curves(args: argparse.Namespace) -> None:
    from dmaelab.analysis.figures import plot_certified_accuracy
    from dmaelab.analysis.tables import labelled_logs

    plot_certified_accuracy(labelled_logs(args.logs, args.labels), args.output, args.title)
    print(f"curves: {args.output}")


def _compare(args: argparse.Namespace) -> None:
    from dmaelab.analysis.compare import align
    from dmaelab.analysis.figures import plot_radii
    from dmaelab.analysis.tables import default_label
    from dmaelab.records.readers import read_one_log

    a, b = align(read_one_log(args.a), read_one_log(args.b), args.common)
    labels = args.labels or [default_label(a), default_label(b)]
    plot_radii((labels[0], a), (labels[1], b), args.output)
    print(f"comparison: {args.output}")


if __name__ == "__main__":
    run_main(main)
