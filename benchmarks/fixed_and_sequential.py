"""Fixed n and sequential sampling compared on the same images of a real model: samples, time, certified accuracy.

    python -m benchmarks.fixed_and_sequential runs/demo/rs dataset.split=test certify.subset='{"count": 50}' \\
        certifier.n=100000

SOURCE and overrides are those of tools/certify.py. All certifications use the same noise, so that they see the same
votes; sequential ones see a prefix of them. Logs are written below the run, with names that begin with ``bench_``.
"""

import argparse
import json
import shutil
import sys
import time
from typing import Any

from tabulate import tabulate

from dmaelab.analysis.summary import summarize
from dmaelab.engine.certification import open_certification
from dmaelab.records.readers import read_log
from dmaelab.utils.cli import run_main
from dmaelab.utils.env import environment
from dmaelab.utils.files import write_json


def certifiers(targets: list[float]) -> dict[str, list[str]]:
    """Return name -> overrides. The fixed n comes first; the others are compared with it."""
    sequential = ["certifier.name=sequential"]
    modes = {
        f"target {radius:g}": [*sequential, "certifier.mode=target", f"certifier.radii=[{radius}]"]
        for radius in targets
    }
    return {"fixed n": [], **modes, "grid": sequential}


def certify(source: str, name: str, overrides: list[str], radii: list[float]) -> dict[str, Any]:
    """Certify from the beginning, and return samples, time and certified accuracy."""
    own = f"certify.name=bench_{name.replace(' ', '_')}"
    certification = open_certification(source, [*overrides, own])
    shutil.rmtree(certification.folder, ignore_errors=True)
    started = time.perf_counter()
    log = read_log(certification.run(progress=False))
    seconds = time.perf_counter() - started
    summary = summarize(log, radii)
    shares = {
        f"r={radius:g}": round(100 * count / len(log), 1) for radius, count in zip(radii, summary.counts, strict=True)
    }
    return {"certifier": name, "forwards": int(log.extra["samples"].sum()), "seconds": round(seconds, 1), **shares}


def main() -> None:
    """Certify with each certifier, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument(
        "--targets",
        nargs="+",
        type=float,
        default=[0.25, 0.5],
        metavar="R",
        help="target radii of the sequential certifications, one for each",
    )
    parser.add_argument(
        "--radii", nargs="+", type=float, default=[0.0, 0.25, 0.5, 0.75], metavar="R", help="columns of the table"
    )
    parser.add_argument("--output", help="also write the figures as JSON")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    records = []
    for name, own in certifiers(args.targets).items():
        record = certify(args.source, name, [*args.overrides, *own], args.radii)
        first = records[0] if records else record
        record |= {f"{key} saved": f"{first[key] / record[key]:.1f}x" for key in ("forwards", "seconds")}
        print(json.dumps(record), file=sys.stderr)
        records.append(record)
    print(tabulate(records, headers="keys", tablefmt="pipe"))
    if args.output:
        write_json(args.output, {"environment": environment(), "records": records})


if __name__ == "__main__":
    run_main(main)
