#!/usr/bin/env python
"""Print the cost of a model: parameters, multiply-adds of a forward, and memory of a training step.

    python tools/analyze_model.py digits/pretrain
    python tools/analyze_model.py runs/digits/cr --batch-size 256
    python tools/analyze_model.py cifar10/finetune_cr model.classifier.backbone.depth=12 --format json

CONFIG is a training config, a run directory, or a certification config. Overrides work as in the other tools. The
model is not run, and no data or weights are read.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tabulate import tabulate

from dmaelab.analysis.views import parse_shape
from dmaelab.utils.cli import run_main

if TYPE_CHECKING:
    from dmaelab.engine.model_analysis import ModelAnalysis


def main() -> None:
    """Read the config, analyse the model, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG", help="a file, a name below configs/, or a run directory")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="images of one forward and backward (default: the config's micro-batch)",
    )
    parser.add_argument("--shape", metavar="CxHxW", help="shape of an image, for networks that take any size")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="also +new.key=value and ~key")
    args = parser.parse_intermixed_args()
    if args.batch_size is not None and args.batch_size < 1:
        parser.error(f"--batch-size is {args.batch_size}: it must be at least 1")

    from dmaelab.engine.model_analysis import analysis_config, analyze
    from dmaelab.engine.settings import TrainSettings

    cfg = analysis_config(args.config, args.overrides)
    result = analyze(cfg, parse_shape(args.shape))
    batch_size = args.batch_size
    if batch_size is None and "train" in cfg:
        batch_size, _ = TrainSettings.of(cfg).split(processes=1)
    if args.format == "json":
        record = {"config": args.config, "overrides": args.overrides, **asdict(result)}
        print(
            json.dumps({**record, "batch_size": batch_size, "step_bytes": result.step_bytes(batch_size or 1)}, indent=2)
        )
    else:
        print(
            tabulate(_rows(result, batch_size or 1), tablefmt="plain", disable_numparse=True, preserve_whitespace=True)
        )


def _rows(result: "ModelAnalysis", batch_size: int) -> list[tuple[str, str]]:
    """Return (name, value) for each line of the table; without a training the lines of a training step are missing."""
    millions = f"{result.parameters / 1e6:.{0 if result.parameters >= 1e7 else 1}f}M"
    rows = [("parameters", f"{result.parameters:,} ({millions})"), ("  trainable", f"{result.trainable:,}")]
    rows += [(f"  {name}", f"{count:,}") for name, count in result.parts.items()]
    flops = f"{result.flops / 1e9:.4g}G" if result.flops >= 1e9 else f"{result.flops / 1e6:.4g}M"
    rows += [("forward", f"{flops} multiply-adds per image"), ("weights", _size(result.weight_bytes))]
    if (step := result.step_bytes(batch_size)) is not None:
        rows += [
            ("gradients", _size(result.gradient_bytes or 0)),
            ("optimizer state", _size(result.optimizer_bytes or 0)),
            (
                "activations",
                f"{_size(result.activation_bytes or 0)} per image, kept for the backward pass in {result.precision}",
            ),
            (f"step of {batch_size:,}", f"{_size(step)}, the four above together"),
        ]
    return rows


def _size(number: float) -> str:
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.3g} MiB"


if __name__ == "__main__":
    run_main(main)
