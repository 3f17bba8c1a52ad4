#!/usr/bin/env python
"""Train or evaluate any training config: pre-training, continued pre-training, fine-tuning.

    python tools/train_net.py --config-file configs/digits/pretrain.py train.max_iter=500
    python tools/train_net.py --config-file digits/finetune_cr --dry-run
    python tools/train_net.py --config-file imagenet/pretrain_base --debug
    torchrun --nproc-per-node 2 tools/train_net.py --config-file digits/pretrain

To continue an interrupted run, give the same command with --resume. Other settings are refused if they could change the
weights; --allow-changes goes on with them. SIGTERM, SIGUSR2 and SIGHUP save the state after the step, and the exit
status is then 75. So does Ctrl-C, with status 130. A second Ctrl-C ends at once and loses the steps since the last
checkpoint (train.checkpoint_period). If no step ends within train.stop_grace seconds, for example because the data
hang, the process ends without saving.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from omegaconf import OmegaConf

from dmaelab.config import config_path, open_config
from dmaelab.utils.cli import launcher_options, process_count, run_main
from dmaelab.utils.errors import ConfigError


def main() -> None:
    """Read the config, apply the overrides, and train or evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CONFIG", help="a file, or a name below configs/")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in train.out_dir from its newest checkpoint"
    )
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="with --resume: go on also with other settings, or other initial weights, than the run was begun with",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate the finished run in train.out_dir")
    parser.add_argument(
        "--weights", default="final", help="with --eval-only: 'final', 'best', or a checkpoint (default: final)"
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        help="make a trial of a few seconds: tiny model, generated images, two steps, in a temporary folder; only for"
        " configs with a section `debug` (imagenet/*, cifar10_224/*)",
    )
    parser.add_argument("--processes", metavar="N|auto", help="train in N processes of this machine; auto: one per GPU")
    launcher_options(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only check the whole config; with --launcher slurm print the script, too",
    )
    parser.add_argument("--print-config", action="store_true", help="print the config with the overrides applied")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="also +new.key=value and ~key")
    args = parser.parse_intermixed_args()

    if args.allow_changes and not args.resume:
        parser.error("--allow-changes goes with --resume only")
    if args.debug and args.launcher != "none":
        parser.error("--debug runs on this machine: leave out --launcher")
    if args.debug:
        with tempfile.TemporaryDirectory(prefix="dmaelab-debug-") as folder:
            _run(args, _trial(args.config_file, folder))
    else:
        _run(args, [])


def _run(args: argparse.Namespace, trial: list[str]) -> None:
    """Train, evaluate or check. The overrides ``trial`` are applied before those of the command line."""
    from dmaelab.engine.classes import check_declared_classes
    from dmaelab.engine.training import SECTIONS, check_training
    from dmaelab.launch.job import EvaluateJob, Job, TrainJob
    from dmaelab.launch.launcher import choose_launcher, start
    from dmaelab.launch.work import Work

    cfg = open_config(args.config_file, [*trial, *args.overrides], SECTIONS)
    if args.print_config:
        print(OmegaConf.to_yaml(cfg), end="")
    launcher = choose_launcher(process_count(args.processes), args.launcher, args.wait)
    if args.print_config and not args.dry_run:
        return
    folder, name = Path(check_training(cfg).out_dir), "evaluate" if args.eval_only else "train"
    if args.dry_run:
        check_declared_classes(cfg)
        print(f"{args.config_file}: the config is fine")
    if args.eval_only:
        job: Job = EvaluateJob.of(cfg, weights=args.weights)
    else:
        job = TrainJob.of(cfg, resume=args.resume, allow_changes=args.allow_changes)
    start(launcher, Work.of(job, folder, name, (config_path(args.config_file),)), args.dry_run)


def _trial(config: str, folder: str) -> list[str]:
    """Return the overrides ``debug`` of a config, and one that makes ``folder`` the parent of the run directory."""
    overrides = open_config(config).get("debug")
    if overrides is None:
        raise ConfigError(f"--debug: {config} has no overrides `debug`")
    return [*overrides, f"train.out_dir={folder}/run"]


if __name__ == "__main__":
    run_main(main)
