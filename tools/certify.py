#!/usr/bin/env python
"""Certify a finished fine-tuning run by randomized smoothing, and print a table. Also verifies and merges logs.

    python tools/certify.py runs/digits/rs dataset.split=test
    python tools/certify.py runs/digits/rs dataset.split=test certify.name=adaptive certifier.name=sequential
    python tools/certify.py runs/digits/rs dataset.split=test certify.name=many certifier.n=100000 --processes auto
    python tools/certify.py runs/digits/rs dataset.split=test certify.name=half corruption.sigma=0.5 --shard 3/16
    python tools/certify.py --verify runs/digits/rs/certify/default
    python tools/certify.py --verify runs/mine/certify/default --plugin projects.mine
    python tools/certify.py --verify runs/digits/rs/certify/default --data digits/finetune_rs dataset.split=test
    python tools/certify.py --verify runs/digits/rs/certify/default --resample 9 --run runs/digits/rs dataset.split=test
    python tools/certify.py --merge whole machine_a/certify/default machine_b/certify/default

SOURCE is a run directory, or a certification config. The images of a run are those of data.test of its training; for
digits this is the split "val", on which settings were chosen, hence dataset.split=test. The log goes to
<run>/certify/<certify.name>; other settings need another certify.name. If the certification is interrupted, give the
same command again, and it continues. Shards may run at the same time; they share one log folder.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.utils.cli import launcher_options, plugin_option, process_count, run_main
from dmaelab.utils.errors import UserError


def main() -> None:
    """Certify, verify logs, or merge logs, as the options say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="run directory, or certification config")
    work = parser.add_mutually_exclusive_group()
    work.add_argument(
        "--shard", type=_shard, default=(0, 1), metavar="i/N", help="take every N-th image, from the i-th on (i from 0)"
    )
    work.add_argument(
        "--processes",
        metavar="N|auto",
        help="certify in N processes: process i takes GPU i modulo their number, without a GPU they share the cores;"
        " auto: one process per GPU",
    )
    work.add_argument(
        "--verify", metavar="LOG", help="recompute every radius of the logs in a folder from their counts"
    )
    work.add_argument(
        "--merge",
        nargs="+",
        metavar="FOLDER",
        help="merge logs: the first folder is new, and gets the rows of all further folders",
    )
    plugin_option(parser)
    parser.add_argument(
        "--data",
        metavar="CONFIG",
        help="with --verify: compare the labels with the data set of this run directory or config, with overrides such"
        " as dataset.split=test",
    )
    parser.add_argument(
        "--resample",
        type=int,
        metavar="K",
        help="with --verify and --run: sample K rows again, drawn at random, and compare their labels with the data",
    )
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="with --resample: run directory or certification config of the classifier; further settings come from the"
        " log, except for overrides such as dataset.split=test or certify.weights=best",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="with --resample: seed of the draw, to repeat it")
    launcher_options(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only check the whole config; with --launcher slurm print the script, too",
    )
    parser.add_argument(
        "--radii", nargs="+", type=float, metavar="R", help="columns of the table (default: 0 0.25 ... 3)"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    if (args.data or args.run) and "=" in (args.source or ""):  # these options stand in place of SOURCE
        args.source, args.overrides = None, [args.source, *args.overrides]
    if (args.verify or args.merge) and (args.launcher != "none" or args.wait or args.dry_run or args.radii):
        parser.error("--verify and --merge take no --launcher, --wait, --dry-run or --radii")
    if (args.verify or args.merge) and args.source is not None:
        parser.error(f"--verify and --merge take no SOURCE: leave out '{args.source}'")
    further = [args.data, args.resample, args.run, args.seed]
    if any(option is not None for option in further) and not args.verify:
        parser.error("--data, --resample, --run and --seed are for --verify")
    if (args.resample is None) != (args.run is None) or (args.seed is not None and args.run is None):
        parser.error("--resample K and --run RUN belong together, and --seed to them")
    if args.data is not None and args.run is not None:
        parser.error("--resample also compares the labels with the data of RUN: leave out --data")
    if args.plugin and not args.verify:
        parser.error("--plugin is for --verify; to certify, add the override plugins=['MODULE'] or +plugins=['MODULE']")
    if args.verify:
        _verify(args)
    elif args.merge:
        _merge(args.merge)
    elif args.source is None:
        parser.error("SOURCE is missing: give a run directory, or a certification config")
    else:
        _certify(args)


def _certify(args: argparse.Namespace) -> None:
    from dmaelab.config import config_path
    from dmaelab.engine.certification import open_certification
    from dmaelab.launch.cluster.progress import is_finished
    from dmaelab.launch.job import CertifyJob, TableJob
    from dmaelab.launch.launcher import choose_launcher, start
    from dmaelab.launch.work import Task, Work
    from dmaelab.utils.logs import setup_logging

    if args.shard != (0, 1) and args.launcher in ("local", "slurm"):
        raise UserError("--shard is for machines that share the work by hand: use --processes N with --launcher")
    certification = open_certification(args.source, args.overrides)
    launcher = choose_launcher(process_count(args.processes), args.launcher, args.wait)
    if args.dry_run:
        certification.check_classes()
        print(f"{args.source}: the config is fine")
    else:
        setup_logging()
    folder = certification.folder
    job = CertifyJob.of(certification.cfg, shard=args.shard)
    table = TableJob.of(certification.cfg, radii=None if args.radii is None else tuple(args.radii))
    slurm = job.section("slurm")
    tasks = (
        Task("certify", job, folder, slurm=slurm, finished=is_finished(job.kind, folder)),
        Task("table", table, folder, after=("certify",), slurm=slurm),
    )
    sources = () if Path(args.source).is_dir() else (config_path(args.source),)
    start(launcher, Work(folder, tasks, sources), args.dry_run)


def _verify(args: argparse.Namespace) -> None:
    """Verify all logs at a path.

    Exit status 1 if any log is wrong, else 2 if any cannot be verified, else 71 if the machine failed, else 0.
    """
    from dmaelab.certifiers.report import counts_decide, report
    from dmaelab.config import trust_plugins
    from dmaelab.records.readers import find_logs

    trust_plugins(args.plugin)
    checks = [counts_decide]
    if args.data is not None:
        from dmaelab.engine.log_data import compare_with_data, open_dataset

        dataset = open_dataset(args.data, args.overrides)
        checks.append(lambda folder: compare_with_data(folder, dataset))
    if args.run is not None:
        from dmaelab.engine.resample import resample

        checks.append(lambda folder: resample(folder, args.run, args.overrides, args.resample, args.seed))
    found = set()
    for folder in find_logs(args.verify):
        status, lines = report(folder, checks)
        found.add(status)
        for line in lines:
            print(line, file=sys.stderr if line.startswith("error: ") else sys.stdout)
    sys.exit(min(found - {0}, default=0))


def _merge(folders: list[str]) -> None:
    from dmaelab.records.folders import merge_folders

    out, *parts = folders
    if not parts:
        raise UserError("--merge needs a new folder, and then the folders to merge")
    table = merge_folders(parts, out)
    print(
        f"{out}: {len(table.rows)} images"
        + (f", {table.repeated} of them recorded twice with equal rows" if table.repeated else "")
    )


def _shard(text: str) -> tuple[int, int]:
    try:
        part, parts = map(int, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': write i/N, such as 0/4") from None
    return part, parts


if __name__ == "__main__":
    run_main(main)
