#!/usr/bin/env python
"""Print a table of certification logs: certified accuracy, certified radii, abstentions and samples.

    python tools/summarize.py runs/digits/rs runs/digits/cr --intervals
    python tools/summarize.py runs/digits/rs runs/digits/cr --format latex --output table.tex
    python tools/summarize.py tests/data/certify_logs/*resnet110*.tsv --norms linf l0 --shape 3x32x32
    python tools/summarize.py --table 4 --paper

LOG is a run directory, a folder certify/<name> of a run directory, or a TSV file of another tool. Each log gives
one row. With --table, logs are grouped by their labels, in the layout of a table of the paper. docs/analysis.md
explains the columns, and lists the labels that the tables of the paper need.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.analysis.log_labels import label_logs
from dmaelab.analysis.paper.tables import NUMBERS, paper_table
from dmaelab.analysis.tables import FORMATS, labelled_logs, make_table
from dmaelab.analysis.views import parse_shape, two_sided
from dmaelab.config import trust_plugins
from dmaelab.stats.geometry import NORMS
from dmaelab.stats.intervals import METHODS
from dmaelab.utils.cli import plugin_option, run_main
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import write_text


def main() -> None:
    """Read the logs and print one table."""
    parser = _parser()
    args = parser.parse_intermixed_args()
    trust_plugins(args.plugin)

    if not (args.logs or (args.table and args.paper)):
        parser.error("name at least one LOG, before any --label")
    table = _summary(args) if args.table is None else _paper_table(args)
    if args.output:
        write_text(args.output, table + "\n")
    else:
        print(table)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="*", metavar="LOG", help="run directory, certify folder or TSV file")
    parser.add_argument("--format", choices=FORMATS, default="text", help="format of the table (default: text)")
    parser.add_argument(
        "--radii", nargs="+", type=float, metavar="R", help="radii, in [0,1] pixel units (default: 0 0.25 ... 3)"
    )
    parser.add_argument("--labels", nargs="+", metavar="TEXT", help="names of the logs, in their order")
    parser.add_argument(
        "--intervals", nargs="?", type=_method, const=METHODS[0], metavar="METHOD",
        help=f"add 95%% confidence intervals: {' (default) or '.join(METHODS)}; without METHOD write it after the logs",
    )  # fmt: skip
    parser.add_argument(
        "--bound",
        type=float,
        metavar="RHO",
        help="add a lower bound of the robust accuracy of the population, which is false with probability RHO",
    )
    parser.add_argument("--alpha", type=float, help="alpha of the certificates: for --bound, if a log has no header")
    parser.add_argument("--two-sided", action="store_true", help="use the two-sided radii")
    parser.add_argument(
        "--norm", choices=NORMS, help="convert the radii to this norm, in [0,1] pixel units; l0 is a number of values"
    )
    parser.add_argument(
        "--norms", nargs="+", choices=NORMS, default=(), metavar="NORM", help="add the ACR in these norms as columns"
    )
    parser.add_argument(
        "--shape", metavar="CxHxW", help="shape of the images, such as 3x32x32: for --norm(s), if a log has no header"
    )
    parser.add_argument("--output", metavar="FILE", help="write the table to this file instead of printing it")
    plugin_option(parser)
    papers = parser.add_argument_group("tables of the paper")
    papers.add_argument(
        "--table",
        type=int,
        choices=NUMBERS,
        metavar="N",
        help=f"print table N of the paper, one of {', '.join(map(str, NUMBERS))}",
    )
    papers.add_argument(
        "--label", nargs="+", action="append", default=[], metavar=("LOG", "KEY=VALUE"),
        help="set labels of a log, such as method=RS sigma=0.25; if it has no header, also eval_sigma, n, n0 and alpha"
             " (repeatable)",
    )  # fmt: skip
    papers.add_argument("--partial", action="store_true", help="print a table although rows of it are missing")
    papers.add_argument(
        "--paper", action="store_true", help="add the rows that the paper prints; without LOG, print only these"
    )
    return parser


def _paper_table(args: argparse.Namespace) -> str:
    """Return a table of the paper."""
    _refuse(args, "--table has no", "labels", "bound", "alpha", "norm", "norms", "shape")
    logs = label_logs([log for _, log in labelled_logs(args.logs)], args.label)
    return paper_table(
        args.table, [two_sided(log) for log in logs] if args.two_sided else logs, style=args.format, radii=args.radii,
        intervals=bool(args.intervals), method=args.intervals or METHODS[0], partial=args.partial, paper=args.paper,
    )  # fmt: skip


def _summary(args: argparse.Namespace) -> str:
    """Return the table with a row for each log."""
    _refuse(args, "without --table there is no", "label", "partial", "paper")
    logs = labelled_logs(args.logs, args.labels)
    if args.two_sided:
        logs = [(label, two_sided(log)) for label, log in logs]
    return make_table(
        logs, args.format, args.radii, bool(args.intervals), method=args.intervals or METHODS[0], bound=args.bound,
        alpha=args.alpha, norm=args.norm, norms=args.norms, shape=parse_shape(args.shape),
    )  # fmt: skip


def _refuse(args: argparse.Namespace, why: str, *names: str) -> None:
    """Raise ``UserError`` if one of the named options is given, because it would have no effect here."""
    if given := [f"--{name}" for name in names if getattr(args, name)]:
        raise UserError(f"{why} {', '.join(given)}")


def _method(text: str) -> str:
    if text not in METHODS:
        raise argparse.ArgumentTypeError(
            f"'{text}' is none of {', '.join(METHODS)}; to take the default, write --intervals after the logs"
        )
    return text


if __name__ == "__main__":
    run_main(main)
