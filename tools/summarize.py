#!/usr/bin/env python
"""Print certified accuracy, average certified radius and abstentions of certification logs.

LOG is a run directory, a folder certify/<name> of one, or a TSV file of another tool.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.analysis.tables import FORMATS, labelled_logs, make_table
from dmaelab.utils.cli import run_main
from dmaelab.utils.files import write_text


def main() -> None:
    """Read the logs and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", metavar="LOG", help="run directory, certify folder or TSV file")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the table (default: text)")
    parser.add_argument("--radii", nargs="+", type=float, metavar="R", help="in [0,1] pixel units (default: 0 0.25 ... 3)")
    parser.add_argument("--labels", nargs="+", metavar="TEXT", help="one name for each log, in their order")
    parser.add_argument("--intervals", action="store_true", help="add exact 95%% confidence intervals")
    parser.add_argument("--output", metavar="FILE", help="write the table there instead of printing it")
    args = parser.parse_args()

    table = make_table(labelled_logs(args.logs, args.labels), args.format, args.radii, args.intervals)
    if args.output:
        write_text(args.output, table + "\n")
    else:
        print(table)


if __name__ == "__main__":
    run_main(main)
