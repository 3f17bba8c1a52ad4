#!/usr/bin/env python
"""Compare two certification logs, B against A, on the same images.

    python tools/compare.py runs/digits/rs runs/digits/cr
    python tools/compare.py runs/digits/rs runs/digits/cr --images 10 --output images.tsv

A and B are run directories with one log, folders certify/<name> of run directories, or TSV files of other tools.
The output has three parts:

* certified accuracy at each radius, with the number of images that only A or only B certifies, and the p-value of
  the exact McNemar test;
* the difference of the average certified radii, with a paired bootstrap interval;
* with --images, the images whose radii differ most.
"""

import argparse
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.analysis.compare import align, compare, comparison_text, different_settings, image_rows
from dmaelab.analysis.views import in_norm, parse_shape, two_sided
from dmaelab.config import trust_plugins
from dmaelab.records.readers import Log, read_one_log
from dmaelab.stats.geometry import NORMS
from dmaelab.utils.cli import plugin_option, run_main
from dmaelab.utils.differences import listed
from dmaelab.utils.files import write_text


def main() -> None:
    """Read both logs, compare them image by image, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="A", help="run directory, certify folder or TSV file")
    parser.add_argument("b", metavar="B", help="the same, compared with A")
    parser.add_argument("--common", action="store_true", help="leave out images that are in only one of the logs")
    parser.add_argument(
        "--radii", nargs="+", type=float, metavar="R", help="radii, in [0,1] pixel units (default: 0 0.25 ... 3)"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=0,
        metavar="K",
        help="list the K images whose radius grows most, and the K whose radius shrinks most",
    )
    parser.add_argument("--two-sided", action="store_true", help="compare the two-sided radii")
    parser.add_argument("--norm", choices=NORMS, help="convert the radii to this norm")
    parser.add_argument(
        "--shape", metavar="CxHxW", help="shape of the images, such as 3x32x32: for --norm, if a log has no header"
    )
    parser.add_argument(
        "--output", metavar="FILE.tsv", help="write a row for every image to this file, the largest gain first"
    )
    plugin_option(parser)
    args = parser.parse_args()

    trust_plugins(args.plugin)
    shape = parse_shape(args.shape)

    def read(path: str) -> Log:
        log = read_one_log(path)
        log = two_sided(log) if args.two_sided else log
        return in_norm(log, args.norm, shape) if args.norm else log

    a, b = align(read(args.a), read(args.b), args.common)
    if different := different_settings(a, b):
        warnings.warn(f"the logs differ in more than the model: {listed(different, 'in A', 'in B')}", stacklevel=1)
    comparison = compare(a, b, args.radii)
    print(comparison_text(comparison, args.images))
    if args.output:
        headers, rows = image_rows(comparison)
        write_text(args.output, "".join("\t".join(cells) + "\n" for cells in [headers, *rows]))


if __name__ == "__main__":
    run_main(main)
