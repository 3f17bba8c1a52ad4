#!/usr/bin/env python
"""Certify a finished fine-tuning run by randomized smoothing, and print the table.

    python tools/certify.py runs/digits/rs
    python tools/certify.py runs/digits/rs certifier.n=100000 corruption.sigma=0.5 --shard 3/16

SOURCE is a run directory, or a certification config that names one. Killed, it continues where it was
when the same command is given again; shards may run at the same time and share one log folder.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.utils.cli import run_main


def main() -> None:
    """Read the config, certify, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="run directory, or certification config")
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="i/N", help="take every N-th image, from the i-th on (i from 0)")
    parser.add_argument("--radii", nargs="+", type=float, metavar="R", help="columns of the table (default: 0 0.25 ... 3)")
    parser.add_argument("--dry-run", action="store_true", help="check the whole config, certify nothing")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()

    from dmaelab.engine.certification import certification_config, run_certification

    cfg = certification_config(args.source, args.overrides)
    if args.dry_run:
        print(f"{args.source}: the config is fine")
        return

    from dmaelab.analysis.tables import default_label, make_table
    from dmaelab.records.readers import read_log
    from dmaelab.utils.logs import setup_logging

    setup_logging()
    folder = run_certification(cfg, args.shard)
    log = read_log(folder)
    print(make_table([(default_label(log), log)], "text", args.radii, intervals=True))
    print(f"log: {folder}")


def _shard(text: str) -> tuple[int, int]:
    try:
        part, parts = map(int, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': write i/N, such as 0/4") from None
    return part, parts


if __name__ == "__main__":
    run_main(main)
