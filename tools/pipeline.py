#!/usr/bin/env python
"""Run a chain of stages (pre-train, fine-tune, certify) and print the table.

    python tools/pipeline.py --config-file pipelines/digits
    python tools/pipeline.py --config-file pipelines/digits --from rs pipeline.out_dir=runs/second
    python tools/pipeline.py --config-file pipelines/digits --launcher slurm
    python tools/pipeline.py --status runs/demo
    python tools/pipeline.py --config-file pipelines/table6 pipeline.weights.dmae_large=dmae_large.pth pipeline.seeds=10

Overrides set keys of `pipeline` and `stages`; keys such as data.train.root are not passed on to the configs of stages.
Finished stages are skipped, and an interrupted stage continues: after a failure give the same command again.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.config import open_config
from dmaelab.utils.cli import launcher_options, run_main


def main() -> None:
    """Read the config, run the stages, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = parser.add_mutually_exclusive_group(required=True)
    jobs.add_argument("--config-file", metavar="CONFIG", help="a file, or a name below configs/")
    jobs.add_argument(
        "--status",
        metavar="DIR",
        help="show the jobs of a pipeline, a run or a log that --launcher local or slurm has started; with --wait until"
        " they have ended",
    )
    jobs.add_argument("--cancel", metavar="DIR", help="cancel these jobs; those that run save their state")
    parser.add_argument(
        "--from",
        dest="restart_at",
        metavar="STAGE",
        help="delete the results of this stage and of all stages that need it, and redo them",
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        help="make a trial of half a minute: tiny models, generated images, two steps for each training; only for"
        " configs whose stages have a section `debug` (pipelines/table*)",
    )
    launcher_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="only check all stages; with --launcher slurm print the scripts, too"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    if args.debug and args.launcher != "none":
        parser.error("--debug runs on this machine: leave out --launcher")
    further = [args.restart_at, args.debug, args.launcher != "none", args.dry_run, args.overrides]
    if (args.config_file is None and any(further)) or (args.cancel is not None and args.wait):
        parser.error("--status and --cancel take a folder only, and --status also --wait")
    if args.status is not None and args.wait:
        from dmaelab.launch.cluster.follow import follow

        follow(Path(args.status))
    elif args.status is not None:
        from dmaelab.launch.cluster.status import status_text

        print(status_text(Path(args.status)))
    elif args.cancel is not None:
        from dmaelab.launch.cluster.cancel import cancel

        print(cancel(Path(args.cancel)))
    else:
        _run(args)


def _run(args: argparse.Namespace) -> None:
    from dmaelab.launch.pipeline import SECTIONS, Pipeline
    from dmaelab.utils.logs import setup_logging

    cfg = open_config(args.config_file, args.overrides, SECTIONS)
    pipeline = Pipeline(cfg, args.debug, args.launcher, args.wait, args.config_file)
    if args.dry_run:
        print(f"{args.config_file}: the {len(pipeline.plan.stages)} stages are fine")
        pipeline.rehearse(args.restart_at)
        return
    setup_logging()
    if (said := pipeline.run(args.restart_at)) is not None:
        print(said)


if __name__ == "__main__":
    run_main(main)
