#!/usr/bin/env python
"""Run a chain of stages (pre-train, fine-tune, certify) and print the table.

    python tools/pipeline.py --config-file pipelines/digits
    python tools/pipeline.py --config-file pipelines/digits --from rs pipeline.out_dir=runs/second
    python tools/pipeline.py --config-file pipelines/table6 pipeline.weights.dmae_large=dmae_large.pth pipeline.seeds=10

Overrides set keys of `pipeline` and `stages`; keys such as data.train.root are not passed on to the configs of stages.
Finished stages are skipped, and an interrupted stage continues: after a failure give the same command again.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dmaelab.config import open_config
from dmaelab.utils.cli import run_main


def main() -> None:
    """Read the config, run the stages, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CONFIG", help="a file, or a name below configs/")
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
    parser.add_argument(
        "--launcher",
        default="none",
        metavar="NAME",
        help="who starts the work: 'none' (this machine), or the dotted name of a class of your own",
    )
    parser.add_argument("--dry-run", action="store_true", help="only check all stages")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    if args.debug and args.launcher != "none":
        parser.error("--debug runs on this machine: leave out --launcher")

    from dmaelab.launch.pipeline import Pipeline
    from dmaelab.launch.stages import PipelineSettings
    from dmaelab.utils.logs import setup_logging

    cfg = open_config(args.config_file, args.overrides, {"pipeline": PipelineSettings})
    pipeline = Pipeline(cfg, args.debug, args.launcher)
    if args.dry_run:
        print(f"{args.config_file}: the {len(pipeline.plan.stages)} stages are fine")
        return

    from dmaelab.launch.report import write_report

    setup_logging()
    pipeline.run(args.restart_at)
    print(write_report(pipeline.plan))


if __name__ == "__main__":
    run_main(main)
